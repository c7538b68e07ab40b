"""The commands, their options and their help. What they do is in the files beside this one.

Exit codes: 0 done, 1 it failed, 2 the command or a setting is wrong.
"""

from __future__ import annotations

import getpass
import os
import ssl
import sys
from pathlib import Path

import rich_click as click

from ..auth import Authenticator
from ..config import dev_key, journal_path, load_config
from ..errors import ConfigError
from ..selection import SORTS
from ..tls import authority
from ..verify import TEXT, Plan
from .attach import run_attach
from .console import clock, complain
from .demo import run_demo
from .forget import run_forget
from .serve import run_serve
from .simulate import run_one, run_simulate
from .tickets import run_ticket
from .tokens import TokenOf, token_source
from .top import run_top
from .top_view import Wanted
from .verify import run_verify

__all__ = ["main"]

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.TEXT_PARAGRAPH_LINEBREAKS = "\n\n"


def home_folder() -> Path:
    """Where development key and journal lie: beside `callboard.toml`, else in the user's configuration folder."""
    here = Path.cwd()
    return here if (here / "callboard.toml").exists() else Path(click.get_app_dir("callboard"))


_journal = click.option(
    "--journal",
    metavar="PATH",
    help="The file that sessions are kept in, or [bold]:memory:[/]. [dim]\\[default: beside callboard.toml "
    "or else in the user's configuration folder][/]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callboard", prog_name="callboard")
def main() -> None:
    """A session runtime for agent platforms.

    Each user session is an isolated, supervised actor; agent events reach all of that user's browsers once and in
    order.

    [dim]First steps:[/] [bold]callboard demo[/] shows real agents at work in a web page.
    """


@main.command()
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="The TCP port; by default 8765, or a free one if it is taken.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page where there is a display.")
@_journal
@click.option("-v", "--verbose", is_flag=True, help="One log line for each connection and run.")
def demo(port: int | None, browser: bool, journal: str | None, verbose: bool) -> None:
    """Show real agents at work: node, agent and page on one port of this machine.

    Log in with any name; the login is open, so the demo listens on loopback only. Ctrl-C stops it in order.

    \b
    [dim]Examples:[/]
      callboard demo
      callboard demo --port 9000 --no-browser
    """
    with complain():
        home = home_folder()
        key, _, _ = dev_key(home, os.urandom)
        run_demo(port, key, journal_path(journal, home, "callboard-demo.db"), browser=browser, verbose=verbose)


@main.command()
@click.option(
    "--app", metavar="MODULE:NAME", help="The platform's [bold]callboard.App[/], looked up in the current folder first."
)
@click.option("--host", metavar="HOST", help="The address to listen on. [dim]\\[default: 127.0.0.1][/]")
@click.option("--port", metavar="PORT", type=click.IntRange(0, 65_535), help="The TCP port. [dim]\\[default: 8765][/]")
@click.option(
    "--origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="A further origin whose pages may connect; may be repeated.",
)
@click.option(
    "--key-file",
    metavar="FILE",
    help="The key that tokens are verified with: hex (mode 0600), PEM, or a JWKS.",
)
@_journal
@click.option(
    "--durability",
    type=click.Choice(["process", "power"]),
    help="What a record outlives once it is shown: the process, or a cut of power too. [dim]\\[default: process][/]",
)
@click.option(
    "--tls-cert",
    metavar="FILE",
    help="Serve https and wss: the certificate with its chain, PEM; read again when renewed.",
)
@click.option("--tls-key", metavar="FILE", help="The certificate's key, PEM.")
@click.option(
    "--public-url", metavar="URL", help="What the node is called from outside, as [bold]https://node.example.org[/]."
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    metavar="ADDR",
    multiple=True,
    help="A proxy, or network of them, that is believed about who asks; may be repeated.",
)
@click.option(
    "--dev", is_flag=True, default=None, help="Use a development key, minted at first use, and listen on loopback only."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The settings file. [dim]\\[default: callboard.toml][/]",
)
@click.option("-v", "--verbose", is_flag=True, help="Show debug lines too.")
def serve(
    app: str | None,
    host: str | None,
    port: int | None,
    origins: tuple[str, ...],
    key_file: str | None,
    journal: str | None,
    durability: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    public_url: str | None,
    trusted_proxies: tuple[str, ...],
    dev: bool | None,
    config_file: Path | None,
    verbose: bool,
) -> None:
    """Serve a platform's board.

    Settings come from flags, [bold]CALLBOARD_*[/] variables and [bold]callboard.toml[/], in this order. SIGTERM or
    Ctrl-C drains: clients are asked to go, open runs may end.

    \b
    [dim]Examples:[/]
      callboard serve --dev --app callboard.examples.librarian:board
      callboard serve --app yourapp:board --host 0.0.0.0 --key-file secret.key
      callboard serve --app yourapp:board --tls-cert node.pem --tls-key node.key
    """
    flags = {
        "app": app,
        "host": host,
        "port": port,
        "origins": origins,
        "key_file": key_file,
        "journal": journal,
        "durability": durability,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "public_url": public_url,
        "trusted_proxies": trusted_proxies,
        "dev": dev,
    }
    with complain():
        config = load_config(flags, os.environ, config_file)
        run_serve(config, config.folder or home_folder(), verbose=verbose)


@main.command()
@click.option("--user", required=True, metavar="NAME", help="Whose sessions are erased.")
@_journal
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The node's settings file. [dim]\\[default: callboard.toml][/]",
)
def forget(user: str, journal: str | None, config_file: Path | None) -> None:
    """Erase a user's sessions from the journal of a node that is stopped: no byte of them stays in its files.

    The journal is the one that [bold]callboard serve[/] would use with the same settings. Backups are yours to erase.

    \b
    [dim]Example:[/]
      callboard forget --user ada --journal callboard.db
    """
    with complain():
        config = load_config({"app": "of:no-matter", "journal": journal}, os.environ, config_file)
        path = journal_path(config.journal, config.folder or home_folder(), "callboard.db")
        sys.exit(run_forget(path, user))


@main.command()
@click.option("--user", required=True, metavar="NAME", help="Who the token is for: its `sub`.")
@click.option(
    "--scope", default="", metavar="S", help="What it may do besides, as [bold]operator[/]; names separated by spaces."
)
def token(user: str, scope: str) -> None:
    """Print a development token, valid for 24 hours, and nothing else.

    It is signed with the development key, which [bold]callboard demo[/] and [bold]serve --dev[/] verify with; other
    nodes refuse it.

    \b
    [dim]Examples:[/]
      callboard token --user ada
      callboard token --user root --scope operator
    """
    with complain():
        if not 1 <= len(user) <= 200 or not user.isprintable():
            raise ConfigError(f"--user is {user!r:.80}; it has to be 1 to 200 printable characters")
        key, _, _ = dev_key(home_folder(), os.urandom)
        click.echo(Authenticator(key, clock).token(user, scope=scope))


def _source(command: str | None) -> TokenOf:
    return token_source(command, lambda: dev_key(home_folder(), os.urandom)[0])


_url = click.argument("url", metavar="URL", help="The node, as [bold]http://127.0.0.1:8765[/].")
_user = click.option("--user", metavar="NAME", default=getpass.getuser, help="Who connects. [dim]\\[default: you][/]")
_session = click.option(
    "--session", metavar="NAME", default="main", show_default=True, help="Which of the user's sessions."
)
_token_command = click.option(
    "--token-command",
    metavar="CMD",
    help="A command that prints a JWT for [bold]{user}[/]. [dim]\\[default: the development key][/]",
)


_ca = click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Trust the certificates in this file, PEM, in place of the system's.",
)


@main.command()
@_url
@_user
@_session
@_token_command
@_ca
@click.option("--say", metavar="TEXT", help="Say this, show the run, and leave: exit code 0 if it completed.")
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="How many earlier records to show.",
)
def attach(
    url: str, user: str, session: str, token_command: str | None, ca: Path | None, say: str | None, last: int
) -> None:
    """Attach to a session in the terminal: type messages, watch the events.

    It comes back after cuts and restarts of the node. Leaving cancels nothing: runs go on.

    \b
    [dim]Examples:[/]
      callboard attach http://127.0.0.1:8765 --user ada
      callboard attach http://127.0.0.1:8765 --user ada --say "What does json.dumps do?"
    """
    with complain():
        source = _source(token_command)
        last = 0 if say is not None else last
        sys.exit(run_attach(_http_url(url), lambda: source(user), session, say, last, _authority(ca, url)))


@main.command()
@_user
@click.option("--url", required=True, metavar="URL", help="The node.")
@_session
@_token_command
@_ca
def ticket(user: str, url: str, session: str, token_command: str | None, ca: Path | None) -> None:
    """Print a ticket: the node's answer, as JSON.

    It opens one connection within 30 seconds, from a client that names no origin.

    \b
    [dim]Example:[/]
      callboard ticket --user ada --url http://127.0.0.1:8765
    """
    with complain():
        source = _source(token_command)
        sys.exit(run_ticket(_http_url(url), source(user), session, _authority(ca, url)))


@main.command()
@_url
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    metavar="ORDER",
    default="stuck",
    show_default=True,
    help=f"Which actors come first: {', '.join(SORTS)}.",
)
@click.option(
    "--filter",
    "match",
    metavar="TEXT",
    default="",
    help="Only actors with this in their path or kind, as a session's id.",
)
@click.option("--tree", is_flag=True, help="Show the tree of supervisors, in order of paths.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60.0),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, print it, and leave; so too where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print the node's own answer as JSON, once.")
@click.option(
    "--token-command",
    metavar="CMD",
    help="Prints a JWT with the scope [bold]{scope}[/], here operator. [dim]\\[default: the development key][/]",
)
@_ca
def top(
    url: str,
    sort: str,
    match: str,
    tree: bool,
    interval: float,
    once: bool,
    as_json: bool,
    token_command: str | None,
    ca: Path | None,
) -> None:
    """See inside a node: its actors, live, the stuck ones first.

    For each actor: how long the oldest message has been waiting and how many wait, what it is at and for how long,
    messages per second, restarts, and the last error. What held the whole loop up is told at the top.

    [dim]Keys:[/] [bold]s[/] sort, [bold]/[/] filter, [bold]t[/] tree, [bold]space[/] pause, [bold]q[/] quit.

    \b
    [dim]Examples:[/]
      callboard top http://127.0.0.1:8765
      callboard top http://127.0.0.1:8765 --once --sort mailbox --filter sessions
    """
    with complain():
        source = _source(token_command)
        wanted = Wanted(sort=sort, match=match, tree=tree)
        how = "json" if as_json else "once" if once else "live"
        tls = _authority(ca, url)
        sys.exit(run_top(_http_url(url), lambda: source("callboard-top", scope="operator"), wanted, interval, how, tls))


@main.command()
@_url
@click.option(
    "--users",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many users at the same time.",
)
@click.option(
    "--devices", metavar="N", type=click.IntRange(1), default=2, show_default=True, help="How many devices each has."
)
@_session
@click.option(
    "--token-command",
    metavar="CMD",
    help="Prints a JWT for [bold]{user}[/] and [bold]{scope}[/]. [dim]\\[default: the development key][/]",
)
@_ca
@click.option("--seed", type=int, metavar="N", help="Where sockets are cut and the like. [dim]\\[default: drawn][/]")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="How many seconds any single wait may take, as for the end of a run.",
)
@click.option("--text", default=TEXT, metavar="TEXT", help="What users say. [dim]\\[default: a plain question][/]")
@click.option(
    "--through-restarts",
    is_flag=False,
    flag_value=60.0,
    type=click.FloatRange(min=1.0, max=86_400.0),
    metavar="[SECONDS]",
    help="For so long (60 if not said) users talk to a node that you kill and begin anew meanwhile, as often as you "
    "like. Judged is what that allows: no record lost or repeated, each command once, each run with its end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def verify(
    url: str,
    users: int,
    devices: int,
    session: str,
    token_command: str | None,
    ca: Path | None,
    seed: int | None,
    timeout: float,
    text: str,
    through_restarts: float | None,
    as_json: bool,
) -> None:
    """Show from outside that a node keeps its laws.

    Users of its own, new at each call, go through login, ticket, connection, message and events at the same time, and
    what each of their devices sees is judged. Exit code 0 if all holds, 1 with the first evidence if not.

    \b
    [dim]Examples:[/]
      callboard verify http://127.0.0.1:8765
      callboard verify http://127.0.0.1:8765 --users 200
      callboard verify http://127.0.0.1:8765 --through-restarts 120
      callboard verify https://node.example --token-command "./jwt {user} {scope}"
    """
    with complain():
        plan = Plan(
            url=_http_url(url),
            users=users,
            devices=devices,
            session=session,
            text=text,
            timeout_seconds=timeout,
            through_restarts=through_restarts,
        )
        tls = _authority(ca, url)
        sys.exit(
            run_verify(plan, token_command, lambda: dev_key(home_folder(), os.urandom)[0], seed, tls, as_json=as_json)
        )


def _authority(ca: Path | None, url: str) -> ssl.SSLContext | None:
    if ca is None:
        return None
    if not url.startswith("https://"):
        raise ConfigError(f"--ca is for https, and URL is {url!r:.200}")
    return authority(ca)


@main.command()
@click.option(
    "--seeds", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="How many seeds to run."
)
@click.option("--from", "first", type=int, default=0, show_default=True, metavar="S", help="The first seed.")
@click.option("--seed", type=int, metavar="N", help="Run this one only, and show every step.")
@click.option("--keep-going", is_flag=True, help="Run all seeds, also when one has failed.")
def simulate(seeds: int, first: int, seed: int | None, keep_going: bool) -> None:
    """Let whole nodes and their clients live through faults that a seed draws, in virtual time.

    Connections are cut and stalled in mid-frame, agents raise, hang and speak after their end, actors crash, the disk
    fails, tears and stalls, nodes are killed and restarted, clients repeat, reorder and lie. After each run the laws
    are checked from the outside. Exit code 1, with the trace of the first seed that failed, if one does not hold.

    \b
    [dim]Examples:[/]
      callboard simulate --seeds 1000
      callboard simulate --seed 84
    """
    with complain():
        sys.exit(run_one(seed) if seed is not None else run_simulate(first, seeds, keep_going=keep_going))


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"URL is {url!r:.200}; it has to begin with http:// or https://")
    return url.rstrip("/")
