"""Makes the documents that rendering is measured on: PDFs of five classes, the same every time.

The words are those of this project's own documentation; drawings, noise and the photograph come from a seeded generator.
Ghostscript sets the type and embeds it, libtiff and libjpeg code the scans. Nothing is copied from elsewhere.
"""

import glob
import json
import os
import random
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
SEED = 20261123
LETTER = (612, 792)


def words():
    """The words of the documentation, without markup, in the order of the files' names."""
    text = []
    for path in sorted(glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            text += re.sub(r"[`*_#|\[\]<>]", " ", file.read()).split()
    return [word for word in text if word.isascii() and len(word) < 30]


def quoted(text):
    return "(" + re.sub(r"([\\()])", r"\\\1", text) + ")"


class Source:
    """Words without end."""

    def __init__(self, items):
        self.items, self.at = items, 0

    def lines(self, count, width):
        """So many lines of up to `width` characters."""
        return [self.line(width) for _ in range(count)]

    def line(self, width):
        line = self.word()
        while len(line) + 1 + len(self.items[self.at % len(self.items)]) <= width:
            line += " " + self.word()
        return line

    def word(self):
        self.at += 1
        return self.items[(self.at - 1) % len(self.items)]


def to_pdf(postscript, target):
    """PostScript into a PDF with its fonts embedded."""
    subprocess.run(
        ["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pdfwrite", "-dEmbedAllFonts=true",
         "-dSubsetFonts=true", "-dPDFSETTINGS=/prepress", "-sOutputFile=" + target, "-"],
        input=postscript.encode("latin-1"), check=True)


def page(body):
    return f"<< /PageSize [{LETTER[0]} {LETTER[1]}] >> setpagedevice\n{body}\nshowpage\n"


def paragraph(texts, left, top, size, leading, font="Times-Roman"):
    shown = "".join(f"{left} {top - leading * i:.2f} moveto {quoted(t)} show\n" for i, t in enumerate(texts))
    return f"/{font} {size} selectfont\n{shown}"


def text_pages(count, source):
    """Letters and manuals: headings, body, a line in colour."""
    pages = []
    for number in range(count):
        body = source.lines(50, 88)
        pages.append(page(
            "0 setgray\n" + paragraph([f"Chapter {number + 1}"], 72, 720, 18, 20, "Helvetica-Bold")
            + paragraph(body, 72, 690, 11, 12.6)
            + "0.1 0.2 0.8 setrgbcolor\n" + paragraph(["See the reference for the whole of it."], 72, 48, 10, 12)))
    return "".join(pages)


def vector_page(chance):
    """A map: contours, hatching, dashes, symbols."""
    parts = ["0 setgray 0.3 setlinewidth\n"]
    for _ in range(90):
        x, y = chance.uniform(80, 530), chance.uniform(80, 700)
        for ring in range(9):
            radius = 4 + 5 * ring
            points = [(x + radius * chance.uniform(0.8, 1.2) * c, y + radius * chance.uniform(0.8, 1.2) * s)
                      for c, s in CIRCLE]
            curve = "".join(
                f"{points[i][0]:.2f} {points[i][1]:.2f} {points[i + 1][0]:.2f} {points[i + 1][1]:.2f} "
                f"{points[(i + 2) % 12][0]:.2f} {points[(i + 2) % 12][1]:.2f} curveto\n" for i in range(0, 12, 3)[:3])
            parts.append(f"newpath {points[0][0]:.2f} {points[0][1]:.2f} moveto {curve} closepath stroke\n")
    parts.append("gsave newpath 90 90 moveto 300 160 lineto 300 360 lineto 90 300 lineto closepath clip newpath\n")
    parts += [f"{60 + i * 2} 60 moveto {60 + i * 2} 380 lineto stroke\n" for i in range(130)]
    parts.append("grestore [6 3] 0 setdash 0.8 setlinewidth\n")
    parts += [f"newpath {x} 30 moveto {x + 40} 300 {x - 40} 500 {x} 760 curveto stroke\n" for x in range(40, 590, 18)]
    parts.append("[] 0 setdash\n")
    for _ in range(150):
        x, y, shade = chance.uniform(40, 570), chance.uniform(40, 750), chance.choice([0, 0.3, 0.6, 0.85])
        parts.append(f"{shade} setgray newpath {x:.1f} {y:.1f} {chance.uniform(2, 9):.1f} 0 360 arc fill\n")
    return page("".join(parts))


CIRCLE = [(1, 0), (0.87, 0.5), (0.5, 0.87), (0, 1), (-0.5, 0.87), (-0.87, 0.5), (-1, 0), (-0.87, -0.5),
          (-0.5, -0.87), (0, -1), (0.5, -0.87), (0.87, -0.5), (1, 0)]


def mixed_page(number, source, photograph):
    """An article: two columns, a tinted table, a chart, a photograph on every second page."""
    left = source.lines(34, 46)
    right = source.lines(34, 46)
    cells = source.lines(8, 24)
    parts = ["0 setgray\n", paragraph([f"{number}. Measurements and what follows"], 54, 730, 14, 16, "Helvetica-Bold"),
             paragraph(left, 54, 705, 9.5, 11), paragraph(right, 318, 705, 9.5, 11)]
    for row in range(4):
        y = 300 - 18 * row
        parts.append(f"0.8 {0.85 if row else 0.6} 0.95 setrgbcolor 54 {y - 5} 240 18 rectfill 0 setgray\n")
        parts.append(f"0.5 setlinewidth 54 {y - 5} 240 18 rectstroke\n")
        parts.append(paragraph([cells[row * 2], ], 58, y, 9, 11, "Helvetica"))
        parts.append(paragraph([cells[row * 2 + 1]], 180, y, 9, 11, "Helvetica"))
    parts.append("1 0 0 setrgbcolor 1 setlinewidth newpath 54 80 moveto\n")
    parts += [f"{54 + 8 * i} {80 + (i * 37 % 90)} lineto\n" for i in range(1, 31)]
    parts.append("stroke 0 setgray 54 75 moveto 54 190 lineto stroke 54 75 moveto 300 75 lineto stroke\n")
    if number % 2 == 0:
        parts.append(photograph)
    return page("".join(parts))


def photograph(chance, edge=240):
    """A picture of hills and sky as hexadecimal samples."""
    rows = []
    heights = [edge * 0.5 + chance.uniform(-3, 3) for _ in range(edge)]
    for x in range(1, edge):
        heights[x] = heights[x - 1] + chance.uniform(-2.2, 2.2)
    for y in range(edge):
        row = [(200 - y // 3 if y < heights[x] else 90 + (x + y) % 50) + chance.randrange(12) for x in range(edge)]
        rows.append(bytes(max(0, min(255, value)) for value in row).hex())
    data = "\n".join(rows)
    return (f"gsave 330 80 translate 220 220 scale {edge} {edge} 8 [{edge} 0 0 -{edge} 0 {edge}]\n"
            f"currentfile /ASCIIHexDecode filter image\n{data}>\ngrestore\n")


def scans(source_pdf, folder, pages):
    """The first pages as a machine would scan them: once black and white, once grey with noise on yellowed paper."""
    raw = os.path.join(folder, "scan-%d.pgm")
    subprocess.run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pgmraw", "-r300", "-dTextAlphaBits=4",
                    f"-dLastPage={pages}", "-sOutputFile=" + raw, source_pdf], check=True)
    bilevel = os.path.join(folder, "scan.tif")
    subprocess.run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg4", "-r300", f"-dLastPage={pages}",
                    "-sOutputFile=" + bilevel, source_pdf], check=True)
    subprocess.run(["tiff2pdf", "-o", os.path.join(folder, "scan-g4.pdf"), bilevel], check=True)
    chance = random.Random(SEED)
    # Paper 228, ink 50, and noise that repeats with a long period.
    noise = bytes(chance.choice((0, 0, 0, 1, 2, 3, 5, 8)) for _ in range(65_521))
    jpegs = []
    for number in range(1, pages + 1):
        with open(raw % number, "rb") as file:
            header, samples = split_pgm(file.read())
        os.remove(raw % number)
        tinted = samples.translate(bytes(50 + value * 178 // 255 for value in range(256)))
        rough = (noise * (len(tinted) // len(noise) + 1))[: len(tinted)]
        mixed = bytes(map(int.__sub__, tinted, rough))
        jpegs.append(subprocess.run(["cjpeg", "-quality", "80", "-grayscale"], input=header + mixed, check=True,
                                    stdout=subprocess.PIPE).stdout)
    width, height = (int(value) for value in header.split()[1:3])
    with open(os.path.join(folder, "scan-jpeg.pdf"), "wb") as file:
        file.write(pictures_pdf(jpegs, width, height))


def split_pgm(octets):
    match = re.match(rb"P5\s+(?:#[^\n]*\n)?(\d+)\s+(\d+)\s+255\s", octets)
    return b"P5 %s %s 255\n" % match.groups(), octets[match.end():]


def pictures_pdf(jpegs, width, height):
    """A PDF whose pages are these grey JPEGs."""
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>"}
    kids = b" ".join(b"%d 0 R" % (3 + 3 * i) for i in range(len(jpegs)))
    objects[2] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(jpegs), kids)
    draw = b"%d 0 0 %d 0 0 cm /P Do" % LETTER
    for i, jpeg in enumerate(jpegs):
        at = 3 + 3 * i
        objects[at] = (b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents %d 0 R"
                       b"/Resources<</XObject<</P %d 0 R>>>>>>" % (*LETTER, at + 1, at + 2))
        objects[at + 1] = b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw)
        objects[at + 2] = (b"<</Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceGray"
                           b"/Filter/DCTDecode/Length %d>>stream\n%s\nendstream" % (width, height, len(jpeg), jpeg))
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number in sorted(objects):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, objects[number])
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def make(folder):
    """All classes into a folder: {class: (path, pages)}."""
    chance, source = random.Random(SEED), Source(words())
    path = {name: os.path.join(folder, name + ".pdf")
            for name in ("text", "vector", "scan-jpeg", "scan-g4", "mixed", "one-page")}
    text = text_pages(30, source)
    to_pdf(text, path["text"])
    to_pdf(text.split("showpage\n")[0] + "showpage\n", path["one-page"])
    to_pdf("".join(vector_page(chance) for _ in range(6)), path["vector"])
    picture, pages = photograph(chance), []
    for number in range(1, 13):
        pages.append(mixed_page(number, source, picture))
    to_pdf("".join(pages), path["mixed"])
    scans(path["text"], folder, 4)
    counts = {"text": 30, "vector": 6, "scan-jpeg": 4, "scan-g4": 4, "mixed": 12, "one-page": 1}
    return {name: (path[name], counts[name]) for name in counts}


if __name__ == "__main__":
    print(json.dumps(make(sys.argv[1])))
