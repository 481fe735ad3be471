"""Makes a document fit for archives: PDF/A-1b (ISO 19005-1) wants its metadata as XMP, and what its colours mean.

The rest of that standard the report keeps anyway: every font is embedded, nothing is transparent, encrypted or active.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfdoc
from reportlab.pdfgen.canvas import Canvas

CREATOR, PRODUCER = "OnCue report_pdf", "ReportLab"
#: equal input makes equal bytes: no document knows when it was made
NEVER = "2000-01-01T00:00:00+00:00"

_XMP = """\
<?xpacket begin="\N{BYTE ORDER MARK}" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{subject}</rdf:li></rdf:Alt></dc:description>
<xmp:CreatorTool>{creator}</xmp:CreatorTool><pdf:Producer>{producer}</pdf:Producer><pdf:Keywords/>
<xmp:CreateDate>{never}</xmp:CreateDate><xmp:ModifyDate>{never}</xmp:ModifyDate>
<pdfaid:part>1</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class _Content(bytes, pdfdoc.PDFObject):
    """A stream's bytes, followed by an end of line that their length does not count (ISO 19005-1, 6.1.7)."""

    def format(self, _: pdfdoc.PDFDocument) -> bytes:
        return self + b"\n"


class _Plain(pdfdoc.NoEncryption):
    """Where reportlab would encrypt a stream, which is after all else."""

    def encode(self, content: bytes) -> bytes:
        return _Content(content)


def describe(canvas: Canvas, title: str, author: str, subject: str) -> None:
    """Write title, author and subject into the document, both ways, and its colours down as sRGB."""
    canvas.setTitle(title)
    canvas.setAuthor(author)
    canvas.setSubject(subject)
    canvas.setCreator(CREATOR)
    canvas.setProducer(PRODUCER)
    texts = {"title": title, "author": author, "subject": subject, "creator": CREATOR, "producer": PRODUCER, "never": NEVER}
    xmp = _XMP.format_map({name: escape(text) for name, text in texts.items()}).encode()
    document = canvas._doc  # reportlab has no other way to its catalog
    document.encrypt = _Plain()
    profile = pdfdoc.PDFStream(pdfdoc.PDFDictionary({"N": 3}), Path(__file__).with_name("srgb.icc").read_bytes())
    intent = {
        "Type": pdfdoc.PDFName("OutputIntent"),
        "S": pdfdoc.PDFName("GTS_PDFA1"),
        "OutputConditionIdentifier": pdfdoc.PDFString("sRGB IEC61966-2.1"),
        "DestOutputProfile": document.Reference(profile),
    }
    document.Catalog.Metadata = pdfdoc.XMP(creator=lambda _: xmp)
    document.Catalog.OutputIntents = pdfdoc.PDFArray([pdfdoc.PDFDictionary(intent)])
    document.Catalog.__NoDefault__ = [*document.Catalog.__NoDefault__, "OutputIntents"]
