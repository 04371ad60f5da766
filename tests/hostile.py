"""What somebody who can write to the database, or name a client, might put where a name belongs."""

HOSTILE = {
    "script": "<script>window.pwned=1</script>",
    "image": "<img src=x onerror=window.pwned=1>",
    "attribute": '" onmouseover="window.pwned=1" autofocus onfocus=\'window.pwned=1\'',
    "svg": "</text></svg><svg onload=window.pwned=1>",
    "comment": "--><!--<b>",
    "address": "javascript:window.pwned=1",
    "template": "{{7*7}}${7*7}<%=7*7%>{%raw%}#{7*7}",
    "format": "{0.__class__}{}%s%(x)s",
    "entity": "&lt;b&gt;&#60;b&#62;&amp",
    "direction": "\u202egnp.exe\u2066\u2067\u200f",
    "separators": "one\u2028two\u2029three\x85four\nfive\rsix\tseven",
    "controls": "\x01\x1b[31m\x7f\x9b2J\ufeff\u200b",
    "formula": '=HYPERLINK("https://evil.test","x")',
    "marks": "Z" + "\u0301\u0327" * 500,
    "arabic": "\u0639\u0628\u062f \u0627\u0644\u0644\u0647" * 20,
    "wide": "\u6f22\u5b57\U0001f469\u200d\U0001f4bb" * 50,
    "long": "A" * 10_000,
    "words": "word " * 2000,
    "nothing": "\\u0000\\x00%00&#0;",
}
