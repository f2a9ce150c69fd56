"""Mails with an attachment, each of its own: a PDF of two pages, a TIFF of one, a text of one."""

import struct
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import make_msgid

# Type, subtype, name, pages.
KINDS = {
    "pdf": ("application", "pdf", "offer.pdf", 2),
    "tiff": ("image", "tiff", "drawing.tif", 1),
    "text": ("text", "plain", "note.txt", 1),
}


@dataclass
class Mail:
    """What one case sends. `path` is the attachment's file, `eml` that of the whole mail with CRLF."""

    case: str
    number: str
    kind: str
    folder: str

    @property
    def sender(self):
        return f"{self.case}@example.com"

    @property
    def recipient(self):
        return f"{self.number}@fax.local"

    @property
    def subject(self):
        return f"Interop {self.case}"

    @property
    def envelope_id(self):
        return f"envelope-of-{self.case}"

    @property
    def original_recipient(self):
        return f"orcpt-{self.case}@example.com"

    @property
    def pages(self):
        return KINDS[self.kind][3]

    @property
    def path(self):
        return f"{self.folder}/{KINDS[self.kind][2]}"

    @property
    def eml(self):
        return f"{self.folder}/mail.eml"

    def write(self):
        octets = document(self.kind, f"{self.case} to {self.number}")
        with open(self.path, "wb") as file:
            file.write(octets)
        with open(self.eml, "wb") as file:
            file.write(self.message().as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def message(self):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, f"<{self.recipient}>", self.subject
        message["Message-ID"] = make_msgid(domain="example.com")
        message.set_content("The attachment is what becomes pages.")
        maintype, subtype, name, _ = KINDS[self.kind]
        with open(self.path, "rb") as file:
            message.add_attachment(file.read(), maintype=maintype, subtype=subtype, filename=name)
        return message


def document(kind, words):
    return {"pdf": pdf, "tiff": tiff, "text": text}[kind](words)


def text(words):
    return "".join(f"{line:2} {words}\r\n" for line in range(1, 41)).encode()


def pdf(words):
    """Two pages of words (ISO 32000-1 §7.5)."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [4 0 R 6 0 R] /Count 2 >>",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for page in (1, 2):
        lines = " ".join(f"({page}.{line} {words}) Tj T*" for line in range(1, 31))
        content = f"BT /F1 14 Tf 20 TL 60 760 Td {lines} ET"
        objects.append("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
                       f"/Resources << /Font << /F1 3 0 R >> >> /Contents {2 * page + 3} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    out, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    out += (f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
            f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n")
    return out.encode("latin-1")


def tiff(words):
    """One page of bars, wide and narrow as the words' bits say (TIFF 6.0, bilevel, uncompressed)."""
    width, height, bits = 1728, 1143, "".join(f"{octet:08b}" for octet in words.encode())
    row = bytearray(width // 8)
    for index in range(width // 8 - 40):
        row[20 + index] = 0xFF if bits[index // 2 % len(bits)] == "1" else 0x18
    pixels = bytes(row) * (height - 200) + bytes(200 * width // 8)
    entries = [(256, 4, width), (257, 4, height), (258, 3, 1), (259, 3, 1), (262, 3, 0), (273, 4, 8), (277, 3, 1),
               (278, 4, height), (279, 4, len(pixels)), (282, 5, 0), (283, 5, 8), (296, 3, 2)]
    rationals = 8 + len(pixels) + 2 + 12 * len(entries) + 4
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value + rationals if kind == 5 else value)
    return (struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory + struct.pack("<I", 0)
            + struct.pack("<IIII", 204, 1, 98, 1))
