"""IPsec: a packet is decrypted when it arrives, and where it lies.

Follows net/ipv4/esp4.c (esp_input), v6.12.  Up to v4.10 a packet is copied first.  From then on it is decrypted in
place if it is not cloned, which says that nobody else has this *buffer*; it does not say that nobody else has the pages
that it refers to (CVE-2026-43284, Dirty Frag).  Repaired, it asks for SKBFL_SHARED_FRAG as well.

Not modelled: the cipher and the check of the tag: decrypting changes every byte, and that is all that matters to
whoever else has the page; the frag_list; encryption, which writes to a list of its own or copies first.
"""

from __future__ import annotations

from mmsim.kernel.releases import ESP_ASKS_FOR_SHARED_FRAGS, ESP_DECRYPTS_IN_PLACE
from mmsim.kernel.skbuff import SkBuff, skb_copy_bits, skb_cow_data, skb_store_bits
from mmsim.kernel.types import Kernel


def deciphered(data: bytes) -> bytes:
    """What a ciphertext says: the complement of each byte."""
    return bytes(byte ^ 0xFF for byte in data)


async def decrypt(k: Kernel, skb: SkBuff) -> SkBuff:
    """crypto_aead_decrypt() and crypto_skcipher_decrypt() with one list to read from and to write to."""
    await skb_store_bits(k, skb, 0, deciphered(await skb_copy_bits(k, skb, skb.length)))
    return skb


async def esp_input(k: Kernel, skb: SkBuff) -> SkBuff:
    """The packet, decrypted: in its own pages, or in a copy."""
    shared = skb.shared_frag and k.release.has(ESP_ASKS_FOR_SHARED_FRAGS)
    if skb.cloned or shared or not k.release.has(ESP_DECRYPTS_IN_PLACE):
        skb = await skb_cow_data(k, skb)
    return await decrypt(k, skb)
