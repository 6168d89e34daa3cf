"""The few pages that are not Gradio's: the login, and what a browser sees when something is wrong.

Self-contained, without script, in the colours of the page (assets/ui/studio.css), dark or light as
the browser prefers.
"""

from html import escape

from starlette.responses import HTMLResponse

from studio.api.errors import headers_of
from studio.core.errors import StudioError

STYLE = """
:root{color-scheme:light dark;--ground:#f4f2ee;--card:#fdfcfa;--ink:#26221e;--soft:#665e55;
--line:#dcd7cf;--edge:#c4bdb3;--accent:#ad3d26;--on-accent:#fffaf5;--wrong:#a3221b}
@media(prefers-color-scheme:dark){:root{--ground:#1b1a18;--card:#262421;--ink:#ece7df;
--soft:#aea69b;--line:#35322d;--edge:#504b44;--accent:#d96a48;--on-accent:#1d0f09;--wrong:#ff9c8f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--ground);
color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{width:min(100%,24rem);background:var(--card);border:1px solid var(--line);border-radius:14px;
padding:2rem 1.75rem;overflow-wrap:anywhere}
main.wide{width:min(100%,52rem)}
h1{font:650 1.6rem/1.2 "Iowan Old Style","Palatino Linotype",Palatino,Georgia,serif;
margin:0 0 .25rem}
h2{font-size:1.05rem;margin:1.75rem 0 .35rem}
p{margin:.25rem 0 1rem;color:var(--soft)}
label{display:block;font-weight:600;margin:1rem 0 .35rem}
input{width:100%;min-height:44px;padding:.55rem .75rem;font:inherit;color:inherit;
background:var(--ground);border:1px solid var(--edge);border-radius:9px}
button,.button{display:block;width:100%;min-height:44px;margin-top:1.5rem;padding:.6rem 1rem;
font:inherit;font-weight:650;text-align:center;text-decoration:none;color:var(--on-accent);
background:var(--accent);border:0;border-radius:9px;cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
a:not(.button){color:var(--accent)}
.wrong{color:var(--wrong);font-weight:600;margin:1rem 0 0}
code,pre{font:.875rem/1.5 ui-monospace,monospace}
pre{white-space:pre-wrap;background:var(--ground);padding:.75rem;border-radius:9px;margin:.35rem 0}
hr{border:0;border-top:1px solid var(--line);margin:1.75rem 0 0}
"""
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%23ad3d26'/%3E"
    "%3Cpath d='M4 11c2-6 5-7 8-7-1 4-3 6-6 7z' fill='%23fff'/%3E%3C/svg%3E"
)


def page(title: str, body: str, *, status: int = 200, wide: bool = False) -> HTMLResponse:
    """`body` is HTML already; `title` is text."""
    return HTMLResponse(
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f'<title>{escape(title)} · Pochade</title><link rel=icon href="{ICON}">'
        f"<style>{STYLE}</style></head><body><main{' class=wide' if wide else ''}>{body}"
        "</main></body></html>",
        status_code=status,
    )


def trouble(error: StudioError) -> HTMLResponse:
    """What went wrong, for a person who followed a link."""
    answer = page(
        error.message,
        f"<h1>{escape(error.message)}</h1><p>{escape(error.hint)}</p>"
        "<a class=button href='/'>Go to the studio</a>",
        status=error.status,
    )
    answer.headers.update(headers_of(error))
    return answer


def come_in(token: str, next_path: str) -> HTMLResponse:
    """Where a one-time link leads. Only the button spends it, and it needs no script."""
    return page(
        "Come in",
        "<h1>Pochade</h1><p>An image studio opens its door to you. The link lets one browser in, "
        "so come in with the one that you want to use.</p>"
        "<form method=post action=/enter>"
        f'<input type=hidden name=token value="{escape(token)}">'
        f'<input type=hidden name=next value="{escape(next_path)}">'
        "<button autofocus>Come in</button></form>",
    )


def login(
    *,
    next_path: str,
    by_name: bool,
    by_token: bool,
    wrong: str = "",
    name: str = "",
    status: int = 200,
) -> HTMLResponse:
    """The form; `wrong` is announced by screen readers."""
    told = f"<p class=wrong id=wrong role=alert>{escape(wrong)}</p>" if wrong else ""
    hidden = f'<input type=hidden name=next value="{escape(next_path)}">'
    described = " aria-describedby=wrong aria-invalid=true" if wrong else ""
    forms = []
    if by_name:
        focus_name, focus_password = ("", " autofocus") if name else (" autofocus", "")
        forms.append(
            f"<form method=post action=/login>{hidden}<label for=name>Name</label>"
            f"<input id=name name=name autocomplete=username autocapitalize=none spellcheck=false "
            f'maxlength=200 required value="{escape(name)}"{focus_name}{described}>'
            "<label for=password>Password</label>"
            "<input id=password name=password type=password autocomplete=current-password "
            f"maxlength=1000 required{focus_password}{described}>"
            "<button>Log in</button></form>"
        )
    if by_token:
        intro = "Or use" if by_name else "Use"
        forms.append(
            f"{'<hr>' if by_name else ''}<form method=post action=/login>{hidden}"
            f"<label for=token>{intro} the one-time code</label>"
            "<input id=token name=token type=password autocomplete=one-time-code spellcheck=false "
            f"maxlength=200 required{'' if by_name else described + ' autofocus'}>"
            "<p>It is the end of the link that was printed when the studio started.</p>"
            "<button>Open the studio</button></form>"
        )
    return page(
        "Log in",
        f"<h1>Pochade</h1><p>This studio asks who you are.</p>{told}{''.join(forms)}",
        status=status,
    )
