"""Unit files: what they say, what is refused, and what follows when a process ends."""

import math
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.unitfile import (
    TABLE,
    BadUnit,
    Entry,
    Settings,
    Specifiers,
    Treatment,
    boolean,
    octal,
    parse,
    seconds,
    split_command,
    split_words,
    whole,
)
from piker.core.units import (
    Ended,
    Name,
    ServiceUnit,
    SocketUnit,
    TriggerLimit,
    backoff_s,
    build,
    judge,
    parse_environment,
)

HERE = Specifiers(instance="ib", runtime="/run/me", home="/home/me", state="/st", config="/co")


def entry(value: str) -> Entry:
    return Entry("Service", "Environment", value, "a.service", 3)


def service(text: str) -> ServiceUnit:
    name = Name.of("a@ib.service")
    assert name is not None
    unit = build(name, [("a@.service", f"[Service]\nExecStart=/bin/a\n{text}")], HERE)
    assert isinstance(unit, ServiceUnit)
    return unit


def socket_unit(text: str) -> SocketUnit:
    name = Name.of("a@ib.socket")
    assert name is not None
    unit = build(name, [("a@.socket", f"[Socket]\n{text}")], HERE)
    assert isinstance(unit, SocketUnit)
    return unit


def test_the_table_treats_each_directive_in_one_of_two_ways() -> None:
    treatments = {each for section in TABLE.values() for each in section.values()}
    assert treatments == set(get_args(Treatment))


def test_comments_and_blank_lines_say_nothing() -> None:
    assert parse("# one\n\n; two\n[Unit]\n  # three\n", "a.service") == []


def test_an_assignment_knows_where_it_stands() -> None:
    (only,) = parse("[Unit]\n\nDescription = what it is \n", "a.service")
    assert only == Entry("Unit", "Description", "what it is", "a.service", 3)


def test_a_backslash_continues_a_line_over_comments() -> None:
    text = "[Service]\nEnvironment=A=1 \\\n# not this\n  B=2\nType=simple\n"
    continued, after = parse(text, "a.service")
    assert (continued.value.split(), continued.line) == (["A=1", "B=2"], 2)
    assert after.line == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[Service]\nType=notify\nSuddenly=yes\n", "a.service:3: Suddenly= in [Service]"),
        ("[Unit]\nConditionPathExists=/x\n", "a.service:2: ConditionPathExists= in [Unit]"),
        ("[Timer]\nOnBootSec=1\n", "a.service:2: OnBootSec= in [Timer]"),
        ("Type=notify\n", "a.service:1: Type= in []"),
        ("[Unit]\nDescription\n", "a.service:2: expected NAME=VALUE, was 'Description'"),
    ],
)
def test_what_is_not_in_the_table_is_refused_with_file_line_and_name(
    text: str, problem: str
) -> None:
    with pytest.raises(BadUnit) as refused:
        parse(text, "a.service")
    assert problem in str(refused.value)


def entries_or_refusal(text: str) -> list[Entry] | str:
    try:
        return parse(text, "a.service")
    except BadUnit as error:
        return str(error)


SCRAPS = ["[Service]", "[Unit]", "Type=", "After=b", "\\", "\n", "#", " ", "=", "Suddenly=", "é"]


@given(st.lists(st.sampled_from(SCRAPS)).map("".join))
def test_any_text_is_understood_or_refused_by_file_and_line(text: str) -> None:
    answer = entries_or_refusal(text)
    assert isinstance(answer, list) or re.match(r"a\.service:[0-9]+: ", answer)


def test_specifiers_are_expanded() -> None:
    assert HERE.expand("%i %t %h %S %E 5%%", entry("")) == "ib /run/me /home/me /st /co 5%"


@pytest.mark.parametrize("text", ["%n", "%", "a%Zb"])
def test_other_specifiers_are_refused(text: str) -> None:
    with pytest.raises(BadUnit, match=r"a\.service:3: Environment=: expected one of the spec"):
        HERE.expand(text, entry(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ('"a b" c', ["a b", "c"]),
        ("'a \"b' \"c'\"", ['a "b', "c'"]),
        (r"a\sb \"c\" \\ \t", ["a b", '"c"', "\\", "\t"]),
        (r'"a\"b"', ['a"b']),
        ('""', [""]),
        ("", []),
    ],
)
def test_words_are_bare_or_quoted_as_a_whole(text: str, words: list[str]) -> None:
    assert split_words(entry(text)) == words


@pytest.mark.parametrize("text", ['a"b c"', '"a', "'a'b", "a\\", r"\q"])
def test_other_quoting_is_refused(text: str) -> None:
    with pytest.raises(BadUnit):
        split_words(entry(text))


@pytest.mark.parametrize("text", ["bin/a", "-/bin/a", "/bin/a $B", "/bin/a ; /bin/b", "%i/a"])
def test_a_command_with_a_prefix_or_a_variable_or_a_second_one_is_refused(text: str) -> None:
    settings = Settings([], HERE)
    with pytest.raises(BadUnit):
        split_command(settings, entry(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 0.25), ("2s", 2), ("5min", 300), ("1min 30s", 90), ("30", 30), ("1.5 h", 5400)],
)
def test_time_spans_are_seconds(text: str, expected: float) -> None:
    assert seconds(entry(text)) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["soon", "2 weeks", "-1s", "ms", "infinity"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(BadUnit, match="expected a time span"):
        seconds(entry(text))


def test_yes_no_numbers_and_modes_are_read() -> None:
    assert [boolean(entry(text)) for text in ("yes", "On", "0", "false")] == [1, 1, 0, 0]
    assert whole(entry("4096")) == 4096
    assert octal(entry("0600")) == 0o600


@pytest.mark.parametrize("read", [boolean, whole, octal])
def test_other_values_are_refused(read: type) -> None:
    with pytest.raises(BadUnit, match="was 'perhaps'"):
        read(entry("perhaps"))


def test_a_drop_in_adds_to_a_list_and_replaces_a_value() -> None:
    name = Name.of("a.service")
    assert name is not None
    own = "[Service]\nExecStart=/bin/a\nEnvironment=A=1\nRestartSec=1s\n"
    drop_in = "[Service]\nEnvironment=B=2\nRestartSec=2s\n"
    unit = build(name, [("a.service", own), ("10.conf", drop_in)], HERE)
    assert isinstance(unit, ServiceUnit)
    assert unit.environment == (("A", "1"), ("B", "2"))
    assert unit.restart_s == 2.0


def test_an_empty_assignment_takes_back_what_was_before() -> None:
    unit = service("Environment=A=1\nEnvironment=\nEnvironment=B=2\nRestartSec=9s\nRestartSec=\n")
    assert unit.environment == (("B", "2"),)
    assert unit.restart_s == 0.1


def test_a_second_command_is_refused_where_it_stands() -> None:
    with pytest.raises(BadUnit, match=r"a@\.service:3: expected one ExecStart=, were 2"):
        service("ExecStart=/bin/b\n")


def test_a_service_without_a_command_is_refused_by_name() -> None:
    with pytest.raises(BadUnit, match=r"a@ib\.service: expected one ExecStart=, were 0"):
        service("ExecStart=\n")


def test_a_socket_starts_the_service_of_its_name_or_the_one_that_it_says() -> None:
    assert socket_unit("ListenStream=/a\n").service == "a@ib.service"
    assert socket_unit("ListenStream=/a\nService=b@%i.service\n").service == "b@ib.service"


@pytest.mark.parametrize("name", ["b", "b.socket", "../b.service", "b@.service"])
def test_what_a_socket_starts_must_be_a_service(name: str) -> None:
    with pytest.raises(BadUnit, match=r"a@\.socket:3: Service=: expected the name of a service"):
        socket_unit(f"ListenStream=/a\nService={name}\n")


def test_a_service_inherits_the_socket_of_its_name_and_those_it_says_which_it_wants() -> None:
    unit = service("Sockets=a-two.socket b@%i.socket\n")
    assert unit.sockets == ("a@ib.socket", "a-two.socket", "b@ib.socket")
    assert unit.head.wants == ("a-two.socket", "b@ib.socket")


def test_what_is_done_once_may_take_its_time_unless_it_says_otherwise() -> None:
    assert service("").start_timeout_s == 90
    assert service("Type=oneshot\n").start_timeout_s == math.inf
    assert service("Type=oneshot\nTimeoutStartSec=2min\n").start_timeout_s == 120


def test_what_is_done_once_has_not_been_done_if_it_was_killed() -> None:
    unit = service("Type=oneshot\n")
    ends = (Ended(code=0), Ended(code=1), Ended(signal=15))
    assert [judge(unit, each, stopping=False) for each in ends] == ["inactive", "failed", "failed"]
    assert judge(unit, Ended(signal=15), stopping=True) == "inactive"


def test_a_relative_socket_path_is_refused() -> None:
    with pytest.raises(BadUnit, match="expected an absolute path, was '@abstract'"):
        socket_unit("ListenStream=@abstract\n")


def test_credentials_are_loaded_from_files_or_set() -> None:
    unit = service("LoadCredential=ib:%E/piker/ib\nSetCredential=ib:no:ne\\n\n")
    assert unit.load_credentials == (("ib", "/co/piker/ib"),)
    assert unit.set_credentials == (("ib", "no:ne\n"),)


@pytest.mark.parametrize(
    "text",
    [
        "LoadCredential=ib\n",
        "LoadCredential=ib:relative\n",
        "SetCredential=../ib:x\n",
        "Environment=A\n",
        "Type=dbus\n",
        "NotifyAccess=all\n",
        "Restart=sometimes\n",
        "SuccessExitStatus=SIGKILL\n",
    ],
)
def test_a_value_that_means_nothing_here_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(BadUnit, match=r"a@\.service:3: "):
        service(text)


def test_variables_are_read_from_a_file_with_quotes_and_comments() -> None:
    text = "# one\nA=1\n\nB = x\nC='a b'\n"
    assert dict(parse_environment(text, "env")) == {"A": "1", "B": " x", "C": "a b"}


def test_a_line_without_a_variable_is_refused() -> None:
    with pytest.raises(BadUnit, match="env:2: expected NAME=VALUE, was 'oops'"):
        parse_environment("A=1\noops\n", "env")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("datad@replay.service", "datad@.service"),
        ("samplerd.socket", "samplerd.socket"),
        ("piker.target", "piker.target"),
    ],
)
def test_an_instance_is_described_by_its_template(name: str, file: str) -> None:
    named = Name.of(name)
    assert named is not None
    assert named.file == file


@pytest.mark.parametrize("name", ["", "a", "a@.service", "../a.service", "a@b/c.socket", "a.timer"])
def test_what_names_no_unit_is_not_looked_for(name: str) -> None:
    assert Name.of(name) is None


JUDGED = [
    # Restart=, how it ended, while stopping, what becomes of it
    ("no", Ended(code=0), False, "inactive"),
    ("no", Ended(code=1), False, "failed"),
    ("on-failure", Ended(code=0), False, "inactive"),
    ("on-failure", Ended(code=1), False, "restart"),
    ("on-failure", Ended(code=1), True, "failed"),
    ("on-failure", Ended(signal=9), False, "restart"),
    ("on-failure", Ended(signal=9), True, "failed"),
    ("on-failure", Ended(signal=15), False, "inactive"),
    ("on-failure", Ended(reason="no credential"), False, "restart"),
    ("on-failure", Ended(code=75), False, "restart"),
    ("on-failure", Ended(code=75), True, "inactive"),
    ("no", Ended(code=75), False, "restart"),
    ("always", Ended(code=0), False, "restart"),
    ("always", Ended(code=0), True, "inactive"),
]


@pytest.mark.parametrize(("restart", "ended", "stopping", "verdict"), JUDGED)
def test_how_a_process_ended_decides_what_becomes_of_its_service(
    restart: str, ended: Ended, stopping: bool, verdict: str
) -> None:
    unit = service(f"Restart={restart}\nSuccessExitStatus=75\nRestartForceExitStatus=75\n")
    assert judge(unit, ended, stopping=stopping) == verdict


def test_an_end_is_told_in_words() -> None:
    ends = [Ended(code=7), Ended(signal=9), Ended(reason="no credential")]
    assert [str(end) for end in ends] == ["exit code 7", "killed by SIGKILL", "no credential"]


def test_pauses_between_restarts_double_up_to_a_bound() -> None:
    assert [backoff_s(0.25, row) for row in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff_s(0.25, 10**6) == 5.0
    assert backoff_s(60.0, 3) == 60.0


def test_activations_are_limited_within_an_interval() -> None:
    limit = TriggerLimit(2.0, 3)
    assert [limit.allows(now) for now in (10, 10.1, 11.9, 11.95)] == [True, True, True, False]
    assert limit.allows(12.0)


def test_without_an_interval_or_a_burst_there_is_no_limit() -> None:
    assert all(TriggerLimit(0.0, 1).allows(1.0) for _ in range(9))
    assert all(TriggerLimit(1.0, 0).allows(1.0) for _ in range(9))
