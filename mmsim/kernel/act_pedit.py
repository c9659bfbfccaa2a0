"""Traffic control's pedit: a rule that changes some bytes of every packet.

Follows net/sched/act_pedit.c (tcf_pedit_act), v6.12.  A key of a rule says where to write, counted from a header; where
that header begins is known when the packet is there.  Up to v5.17 the action made sure of the buffer alone
(skb_unclone) and wrote wherever the key led it.  Since then it copies as much of the packet as the rule's keys reach,
which it reckoned when the rule was made, without the header's place (CVE-2026-46331): what lies beyond is written
where it is.  Repaired, each key has what it writes copied first.

Not modelled: a rule is one key, of four bytes, at offset 0 of a header that begins at byte HEADER; the other
arithmetic and checksums, because one write is enough.
"""

from __future__ import annotations

from mmsim.kernel.releases import PEDIT_COPIES_EACH_KEY, PEDIT_COPIES_WHAT_IT_HINTED
from mmsim.kernel.skbuff import SkBuff, skb_ensure_writable, skb_store_bits
from mmsim.kernel.types import Kernel

HEADER = 4
KEY = b"edit"


async def tcf_pedit_act(k: Kernel, skb: SkBuff) -> SkBuff:
    """The packet, edited; one that is too short stays as it is."""
    end = HEADER + len(KEY)
    if skb.length < end:
        return skb
    if k.release.has(PEDIT_COPIES_EACH_KEY):
        skb = await skb_ensure_writable(k, skb, end)
    elif k.release.has(PEDIT_COPIES_WHAT_IT_HINTED):
        skb = await skb_ensure_writable(k, skb, len(KEY))
    # Before, skb_unclone() saw to a head of its own, which is not modelled; the fragments stayed the same.
    await skb_store_bits(k, skb, HEADER, KEY)
    return skb
