"""A message is what its sender wrote, in whatever parts it comes; what is attached to it is read too."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from studio.documents import file_kind
from studio.documents.parsers import letters, mail
from studio.domain import ParsedDocument, PartFailure
from studio.errors import FailureCode
from tests.unit.documents.making import archive, check, docx, fault, paragraph, places, read, read_one
from tests.unit.documents.parsers.test_source_and_saved_formats import outlook

PROSE = "The turquoise teapot ships on Friday with the order of the spring, packed in straw as every year. "
HEAD = b"From: a@example.org\nSubject: Roof\nMIME-Version: 1.0\n"


def eml(path: Path, *parts: bytes, kind: str = "mixed", head: bytes = HEAD) -> Path:
    """A message of parts, each its headers, an empty line and its content."""
    body = b"".join(b"\n--XX\n" + part for part in parts) + b"\n--XX--\n"
    path.write_bytes(head + b"Content-Type: multipart/%s; boundary=XX\n" % kind.encode() + body)
    return path


def plain(text: str, more: str = "") -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\n{more}\n{text}".encode()


def page(text: str) -> bytes:
    return f"Content-Type: text/html; charset=utf-8\n\n<p>{text}</p>".encode()


def nested(kind: str, *parts: bytes) -> bytes:
    body = b"".join(b"\n--YY\n" + part for part in parts) + b"\n--YY--\n"
    return b"Content-Type: multipart/%s; boundary=YY\n" % kind.encode() + body


def body(path: Path) -> str:
    return read_one(path).text.partition("Subject: Roof\n\n")[2]


@pytest.mark.parametrize(
    "stub",
    [
        "This message is in HTML. Please use a mail program that can show it.",
        "Dear Ann,",
        "-- \nTo leave this list write to leave@example.org",
        "View this message in a browser: https://example.org/show?id=turquoise+teapot+ships",
        "",
    ],
)
def test_a_note_beside_the_message_does_not_replace_it(tmp_path: Path, stub: str) -> None:
    path = eml(tmp_path / "a.eml", plain(stub), page(PROSE), kind="alternative")
    assert body(path) == PROSE.strip()


def test_plain_text_is_read_where_it_says_the_same(tmp_path: Path) -> None:
    path = eml(tmp_path / "a.eml", plain(PROSE + "*Yours*"), page(f"<b>{PROSE}</b> Yours"), kind="alternative")
    assert body(path).endswith("*Yours*")
    short = "Your order 55-83120 ships on Friday."
    noted = eml(
        tmp_path / "c.eml", plain("This message is in HTML. Use another mail program."), page(short), kind="alternative"
    )
    assert body(noted) == short
    only = eml(tmp_path / "b.eml", plain(PROSE), page("<img src='cid:x'>Show pictures"), kind="alternative")
    assert body(only) == PROSE.strip()


def test_both_forms_are_read_where_each_says_something_else(tmp_path: Path) -> None:
    other = " ".join(f"word{i}" for i in range(letters.OWN_WORDS))
    path = eml(tmp_path / "a.eml", plain(other), page(PROSE + other[::-1]), kind="alternative")
    assert body(path) == f"{PROSE}{other[::-1]}\n\n{other}"


def test_the_footer_of_a_list_stands_below_the_message(tmp_path: Path) -> None:
    message = nested("alternative", plain("Use another program."), page(PROSE))
    path = eml(tmp_path / "a.eml", message, plain("To leave this list write to leave@example.org"))
    assert body(path) == f"{PROSE.strip()}\n\nTo leave this list write to leave@example.org"
    related = nested("related", page(PROSE), b"Content-Type: image/png\nContent-Location: a.png\n\nx")
    assert body(eml(tmp_path / "b.eml", related)).startswith(PROSE.strip())


def test_a_part_with_a_file_name_is_text_where_it_is_shown(tmp_path: Path) -> None:
    shown = plain("The slates are loose.", 'Content-Disposition: inline; filename="body.txt"\n')
    picture = b"Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo="
    assert body(eml(tmp_path / "a.eml", shown, picture)) == "The slates are loose.\n\nAttachments: a.png"


def test_attachments_are_documents_under_their_message(tmp_path: Path) -> None:
    made = EmailMessage()
    made["Subject"] = "Contract"
    made.set_content("Please see attached.")
    word = docx(
        tmp_path / "terms.docx", paragraph("Terms", "Heading1") + paragraph("The lessee returns it.")
    ).read_bytes()
    office = "vnd.openxmlformats-officedocument.wordprocessingml.document"
    made.add_attachment(word, maintype="application", subtype=office, filename="terms.docx")
    made.add_attachment("ärger".encode("cp1252"), maintype="text", subtype="plain", filename="a.txt")
    made.add_attachment(b"id,name\n7,Ann\n8,Bob\n", maintype="text", subtype="csv", filename="people.csv")
    made.add_attachment(b"\x89PNG" + bytes(99), maintype="image", subtype="png", filename="logo.png")
    made.add_attachment(b"PK\3\4 not at all", maintype="application", subtype=office, filename="broken.docx")
    path = tmp_path / "a.eml"
    path.write_bytes(made.as_bytes())
    found = read(path)
    documents = [event for event in found if isinstance(event, ParsedDocument)]
    assert [(event.external_id, event.row) for event in documents] == [
        ("", 0),
        ("terms.docx", 1),
        ("a.txt", 2),
        ("people.csv#7", 3),
        ("people.csv#8", 4),
    ]
    assert places(documents[1]) == [("terms.docx › Terms", "Terms\n\nThe lessee returns it.")]
    assert documents[2].text == "ärger"
    assert [event.part for event in found if isinstance(event, PartFailure)] == ["broken.docx"]
    for document in documents:
        check(document)


def test_forwarded_messages_are_read_with_their_senders_and_attachments(tmp_path: Path) -> None:
    inner = b"From: otto@example.org\nSubject: Ladder\nContent-Type: multipart/mixed; boundary=ZZ\n\n--ZZ\n"
    inner += plain("It fails the test.") + b"\n--ZZ\n"
    inner += plain("Hall three", 'Content-Disposition: attachment; filename="hall.txt"\n') + b"\n--ZZ--\n"
    forward = b"Content-Type: message/rfc822\nContent-Disposition: attachment\n\n" + inner
    message, attachment = read(eml(tmp_path / "a.eml", plain("fyi"), forward))
    assert (
        "fyi\n\nFrom: otto@example.org\nSubject: Ladder\n\nIt fails the test.\n\nAttachments: hall.txt" in message.text
    )
    assert (attachment.text, attachment.external_id) == ("Hall three", "hall.txt")


def test_messages_in_messages_come_to_an_end(tmp_path: Path) -> None:
    inner = HEAD + b"\nthe innermost"
    for level in range(6):
        outer = EmailMessage()
        outer["Subject"] = f"level {level}"
        outer.set_content("see attached")
        outer.add_attachment(inner, maintype="application", subtype="octet-stream", filename="m.eml")
        inner = outer.as_bytes()
    path = tmp_path / "a.eml"
    path.write_bytes(inner)
    assert [document.title for document in read(path)] == ["level 5", "level 4", "level 3", "level 2"]


INVITE = """BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:X
BEGIN:STANDARD
DTSTART:19701025T030000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Boat ins
 pection
DTSTART;TZID=X:20240305T093000
LOCATION:Pier six\\, north
ORGANIZER;CN="Ann Lee":mailto:ann@example.org
DESCRIPTION:Bring\\nthe papers
BEGIN:VALARM
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
BEGIN:VTODO
SUMMARY;ENCODING=QUOTED-PRINTABLE:Gr=C3=BC=
=C3=9Fe
DUE:20240401
END:VTODO
END:VCALENDAR
"""
EVENT = (
    "Boat inspection\nStart: 2024-03-05 09:30\nLocation: Pier six, north\nOrganizer: Ann Lee <ann@example.org>\n"
    "Description: Bring\nthe papers"
)


def test_calendars(tmp_path: Path) -> None:
    path = tmp_path / "a.ics"
    path.write_text(INVITE.replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert places(read_one(path)) == [("Boat inspection", EVENT), ("Grüße", "Grüße\nDue: 2024-04-01")]
    calendar = b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\n\n" + INVITE.encode()
    invited = eml(tmp_path / "a.eml", plain(PROSE), page(PROSE), calendar, kind="alternative")
    assert body(invited) == f"{PROSE}\n\n{EVENT}\n\nGrüße\nDue: 2024-04-01"
    (tmp_path / "b.ics").write_text("no calendar")
    assert read_one(tmp_path / "b.ics").text == "no calendar"


def test_a_mailbox_is_split_where_messages_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    path.write_bytes(
        b"From a@example.org Mon Mar  4 09:00:00 2024\nSubject: Plan\n\nHello,\n\n"
        b"From the first of May the ferry stops at pier six.\n\nFrom: a label\n\nFrom 10:30 on: 2024 is over\n\n"
        b">From my side: yes\n\nFrom bob@example.org\nnot a header\n\n"
        b"From - Mon Mar 04 10:00:00 2024\nSubject: Other\n\nNothing new.\n"
        b"From ???@??? Fri Mar 08 12:08:34 2024\nSubject: No line between\n\nIndeed.\n\n"
        b"From carl@example.org\nSubject: No date\n\nEnd."
    )
    found = read(path)
    assert [document.title for document in found] == ["Plan", "Other", "No line between", "No date"]
    assert found[0].text.endswith("\n\nFrom my side: yes\n\nFrom bob@example.org\nnot a header")


def test_attachments_in_a_mailbox_belong_to_their_message(tmp_path: Path) -> None:
    message = eml(
        tmp_path / "a.eml", plain("see"), plain("inside", 'Content-Disposition: attachment; filename="x.txt"\n')
    ).read_bytes()
    sender = b"From a@example.org Mon Mar  4 09:00:00 2024\n"
    (tmp_path / "a.mbox").write_bytes(sender + b"Message-ID: <1@x>\n" + message + b"\n" + sender + message)
    found = [(document.external_id, document.row) for document in read(tmp_path / "a.mbox")]
    assert found == [("1@x", 0), ("1@x/x.txt", 1), ("", 2), ("message 2/x.txt", 3)]


def test_messages_as_apple_mail_and_maildirs_keep_them(tmp_path: Path) -> None:
    message = HEAD + b"\nLoose slates"
    path = tmp_path / "1.emlx"
    path.write_bytes(b"%d \n" % len(message) + message + b"<?xml version='1.0'?><plist><dict/></plist>")
    assert body(path) == "Loose slates"
    (tmp_path / "cur").mkdir()
    path = tmp_path / "cur" / "1709542800.M1P2.host:2,S"
    path.write_bytes(message)
    assert (file_kind(path), body(path)) == ("eml", "Loose slates")
    assert file_kind(tmp_path / "cur" / "notes.txt") == "text"
    assert file_kind(tmp_path / "tmp" / path.name) == "other"
    assert file_kind(tmp_path / "Box.mbox" / "mbox") == "mbox"


def test_a_message_too_large_is_read_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "MAX_MESSAGE_BYTES", 400)
    path = eml(
        tmp_path / "a.eml", plain("Short."), plain("y" * 900, 'Content-Disposition: attachment; filename="y.txt"\n')
    )
    message, _, failure = read(path)
    assert "Short." in message.text
    assert failure.error == FailureCode.TOO_LARGE


def test_an_outlook_message_with_attachments(tmp_path: Path) -> None:
    text = "Clause nine. " * 400
    inner = "__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_"
    parts = {
        "0037001F": "Roof",
        "1000001F": "see attached",
        "__attach_version1.0_#00000000/__substg1.0_3707001F": "a.txt",
        f"{inner}0037001F": "Ladder",
        f"{inner}1000001F": "It fails.",
    }
    data = {"__attach_version1.0_#00000000/__substg1.0_37010102": text.encode()}
    path = tmp_path / "a.msg"
    path.write_bytes(outlook(data | {name: value.encode("utf-16-le") for name, value in parts.items()}))
    message, attachment = read(path)
    assert "see attached\n\nSubject: Ladder\n\nIt fails.\n\nAttachments: a.txt" in message.text
    assert (attachment.external_id, attachment.text) == ("a.txt", text)


def test_attachments_of_messages_in_archives(tmp_path: Path) -> None:
    message = eml(
        tmp_path / "a.eml", plain("see"), plain("inside", 'Content-Disposition: attachment; filename="x.txt"\n')
    )
    found = read(archive(tmp_path / "a.zip", {"in/a.eml": message.read_bytes()}))
    documents = [event for event in found if isinstance(event, ParsedDocument)]
    assert [document.external_id for document in documents] == ["in/a.eml", "in/a.eml#x.txt"]


def test_a_message_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"X-Nothing: 1\n\n")
    assert fault(tmp_path / "a.eml").code is FailureCode.NO_TEXT


@pytest.mark.parametrize(
    ("declared", "text", "encoding"),
    [
        ("iso-8859-1", "two months’ rent – € 1,450", "cp1252"),
        ("us-ascii", "the “keys”", "cp1252"),
        ("gb2312", "陶喆同志", "gb18030"),
        ("big5", "碁峰合約", "cp950"),
        ("shift_jis", "㈱山田商事", "cp932"),
        ("ks_c_5601-1987", "똠방각하", "cp949"),
        ("iso-8859-9", "“ışık”", "cp1254"),
    ],
)
def test_a_declared_encoding_means_what_programs_write_under_that_name(
    tmp_path: Path, declared: str, text: str, encoding: str
) -> None:
    (tmp_path / "a.eml").write_bytes(
        HEAD
        + f"Content-Type: text/plain; charset={declared}\nContent-Transfer-Encoding: 8bit\n\n".encode()
        + text.encode(encoding)
    )
    assert body(tmp_path / "a.eml") == text
