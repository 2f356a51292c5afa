"""From bytes to characters, when nobody says in which encoding they are."""

from __future__ import annotations

import codecs

SAMPLE_BYTES = 64 * 1024
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = frozenset({"cp1250", "cp1252", "cp1254", "cp1257", "iso8859_2"})
"""Encodings that short texts of western Europe cannot be told apart by; Windows' own is meant nearly always."""

KNOWN = (*sorted(WESTERN), "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874")
"""What files of text are written in by now. Without a list, a short word in German passes for EBCDIC."""


def decode(content: bytes) -> str:
    r"""The characters of a text file. Never raises: what no encoding explains becomes U+FFFD.

    >>> decode(b"\x96\xbc\x91O,\x94N\x97\xee"), decode("Größe".encode("cp1252")), decode("né".encode("utf-16"))
    ('名前,年齢', 'Größe', 'né')
    """
    for mark, name in MARKS:
        if content.startswith(mark):
            return content.decode(name, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.reason == "unexpected end of data" and e.start >= len(content) - 3:  # a sample cut in the middle of a character
            return content[: e.start].decode("utf-8")
    # Zeros in every other place are UTF-16 without its mark.
    sample = content[:SAMPLE_BYTES]
    if sample[1::2].count(0) > len(sample) // 4:
        return content.decode("utf-16-le", errors="replace")
    if sample[0::2].count(0) > len(sample) // 4:
        return content.decode("utf-16-be", errors="replace")
    return content.decode(guess(sample), errors="replace")


def guess(sample: bytes) -> str:
    """The encoding that explains a sample best."""
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample, cp_isolation=list(KNOWN)).best()
    if best is None or best.encoding in WESTERN:
        return "cp1252"
    return best.encoding
