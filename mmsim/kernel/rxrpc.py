"""RxRPC: a packet is decrypted when its call reads it, and where it lies.

Follows net/rxrpc/call_event.c (rxrpc_input_call_event), net/rxrpc/input.c before v6.2, and net/rxrpc/rxkad.c
(rxkad_verify_packet), v6.12.  Up to v5.3 the last of these copies a packet before it decrypts it.  From then on it is
unshared when it arrives, which copies it if it is cloned, and not if its pages are somebody else's (CVE-2026-43500).

Not modelled: the cipher, see esp.py; calls, tickets and windows; RESPONSE packets, which had the same mistake.
"""

from __future__ import annotations

from mmsim.kernel.esp import decrypt
from mmsim.kernel.releases import RXRPC_ASKS_FOR_SHARED_FRAGS, RXRPC_DECRYPTS_IN_PLACE
from mmsim.kernel.skbuff import SkBuff, skb_cow_data
from mmsim.kernel.types import Kernel


async def rxrpc_input_call_event(k: Kernel, skb: SkBuff) -> SkBuff:
    """The packet, decrypted: in its own pages, or in a copy."""
    shared = skb.shared_frag and k.release.has(RXRPC_ASKS_FOR_SHARED_FRAGS)
    if skb.cloned or shared or not k.release.has(RXRPC_DECRYPTS_IN_PLACE):
        skb = await skb_cow_data(k, skb)
    return await decrypt(k, skb)
