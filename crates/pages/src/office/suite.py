# Runs inside the sandbox: one resident LibreOffice, documents in on standard input, PDFs out on standard output.
#
# It says "ready". A request is a line "extension pages octets" and so many octets; an answer is a line "pdf octets" and so
# many octets, or "failed reason". Nothing here is trusted by the other end, which alone enforces time and size.
import os
import subprocess
import sys
import threading

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException

PROGRAM = sys.argv[1]
PROFILE = "/work/profile"
# MacroSecurityLevel 3 runs macros of trusted places alone, and there are none; DisableMacrosExecution not even those.
SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableActiveContent" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>2</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>2</value></prop></item>
</oor:items>
"""
# A new profile makes the program end and ask to be started again.
RESTART = 81
STARTS_MAX = 3
FILTERS = {
    "com.sun.star.text.TextDocument": "writer_pdf_Export",
    "com.sun.star.text.GlobalDocument": "writer_pdf_Export",
    "com.sun.star.text.WebDocument": "writer_web_pdf_Export",
    "com.sun.star.sheet.SpreadsheetDocument": "calc_pdf_Export",
    "com.sun.star.presentation.PresentationDocument": "impress_pdf_Export",
    "com.sun.star.drawing.DrawingDocument": "draw_pdf_Export",
}


def properties(**values):
    return tuple(PropertyValue(name, 0, value, 0) for name, value in values.items())


def start():
    os.makedirs(PROFILE + "/user")
    with open(PROFILE + "/user/registrymodifications.xcu", "w") as file:
        file.write(SETTINGS)
    line = [PROGRAM, "--headless", "--norestore", "--nologo", "--nodefault", "--nolockcheck", "--nofirststartwizard"]
    line += ["--accept=pipe,name=pages;urp;", "-env:UserInstallation=file://" + PROFILE]

    def keep():
        for _ in range(STARTS_MAX):
            code = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=2).returncode
            if code != RESTART:
                break
        # A crash of the program is the end of this sandbox.
        print("office ended:", code, file=sys.stderr, flush=True)
        os._exit(3)

    threading.Thread(target=keep, daemon=True).start()


def connect():
    context = uno.getComponentContext()
    resolver = context.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", context)
    pause = threading.Event()
    while True:
        try:
            remote = resolver.resolve("uno:pipe,name=pages;urp;StarOffice.ComponentContext")
            return remote.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", remote)
        except NoConnectException:
            pause.wait(0.02)  # the other end limits the time


def convert(desktop, path, pages):
    # Without somebody to ask, a password or a broken file is an error.
    load = properties(Hidden=True, ReadOnly=True, MacroExecutionMode=0, UpdateDocMode=0)
    document = desktop.loadComponentFromURL("file://" + path, "_blank", 0, load)
    if document is None:
        return "failed not readable"
    try:
        service = next((name for name in FILTERS if document.supportsService(name)), None)
        if service is None:
            return "failed it is no text, table or presentation"
        # One page more than allowed, so that too many show as too many.
        options = uno.Any("[]com.sun.star.beans.PropertyValue", properties(PageRange="1-%d" % (pages + 1)))
        store = properties(FilterName=FILTERS[service], Overwrite=True, FilterData=options)
        document.storeToURL("file:///work/out.pdf", store)
    finally:
        document.close(True)
    return None


def main():
    start()
    desktop = connect()
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    for line in requests:
        extension, pages, octets = line.decode("ascii").split()
        path = "/work/in." + extension
        with open(path, "wb") as file:
            file.write(requests.read(int(octets)))
        try:
            refusal = convert(desktop, path, int(pages))
        except Exception as error:
            refusal = "failed " + type(error).__name__
        os.remove(path)
        if refusal is None:
            with open("/work/out.pdf", "rb") as file:
                pdf = file.read()
            os.remove("/work/out.pdf")
            answers.write(b"pdf %d\n" % len(pdf) + pdf)
        else:
            answers.write(refusal.encode("ascii", "replace") + b"\n")
        answers.flush()
    os._exit(0)


main()
