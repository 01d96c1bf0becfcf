"""Every judge turns red when what it looks for is planted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from chaos import verdict
from chaos.verdict import MIB, Process, Record, Usage, descendants


def record(number: int, *, outcomes: tuple[str, ...] = ("SUCCEEDED",), action: str = "chaos.charge", right: bool | None = True) -> Record:
    return Record(number=number, action=action, size_bytes=1, allowed_s=10.0, outcomes=list(outcomes), took_s=1.0, right=right)


def test_runs_that_ended_once_are_no_complaint() -> None:
    records = [record(0), record(1, outcomes=("LOST",), right=None)]
    assert verdict.without_one_end(records, 2) == []
    assert verdict.late(records) == []
    assert verdict.wrong(records) == []
    assert verdict.started_again(records, [0, 1]) == []


def test_two_outcomes_of_one_run_are_noticed() -> None:
    assert len(verdict.without_one_end([record(0, outcomes=("SUCCEEDED", "LOST"))], 1)) == 1


def test_an_outcome_and_an_error_of_one_run_are_noticed() -> None:
    both = record(0)
    both.errors.append("UNAVAILABLE")
    assert len(verdict.without_one_end([both], 1)) == 1


def test_a_run_without_an_end_is_noticed() -> None:
    assert len(verdict.without_one_end([record(0, outcomes=())], 1)) == 1


def test_a_run_that_nobody_recorded_is_noticed() -> None:
    assert len(verdict.without_one_end([record(0), record(2)], 3)) == 1


def test_an_exception_that_is_not_promised_is_noticed() -> None:
    odd = record(0)
    odd.surprises.append("KeyError")
    assert len(verdict.without_one_end([odd], 1)) == 1


def test_a_late_end_is_noticed() -> None:
    tardy = record(0)
    tardy.took_s = 10.5
    assert len(verdict.late([tardy])) == 1


def test_a_wrong_result_is_noticed() -> None:
    assert len(verdict.wrong([record(0, right=False), record(1, right=None)])) == 2


def test_a_second_start_is_noticed_where_it_matters() -> None:
    records = [record(0), record(1), record(2, action="chaos.echo")]
    assert len(verdict.started_again(records, [0, 1, 1, 2, 2])) == 1


def test_an_orphan_is_noticed_until_it_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        seen = descendants([os.getpid()])
        mine = [one for one in seen if one.pid == child.pid]
        assert len(verdict.orphans(mine)) == 1
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert verdict.orphans(mine) == [], "nobody has reaped it yet, but it holds nothing"
    finally:
        child.kill()
        child.communicate()
    assert verdict.orphans(mine) == []


def test_another_process_of_the_same_number_is_no_orphan() -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert len(verdict.orphans([me])) == 1
    assert verdict.orphans([Process(pid=me.pid, name=me.name, parent=me.parent, began="1")]) == []


def test_a_leaked_descriptor_is_noticed() -> None:
    before = Usage.of(os.getpid())
    ends = os.pipe()
    try:
        after = Usage.of(os.getpid())
    finally:
        for number in ends:
            os.close(number)
    assert after.descriptors == before.descriptors + 2
    assert len(verdict.leaks("me", before, Usage(descriptors=after.descriptors, rss_bytes=0))) == 1
    assert verdict.leaks("me", before, Usage.of(os.getpid())) == []


def test_memory_that_is_not_given_back_is_noticed() -> None:
    before = Usage(descriptors=10, rss_bytes=100 * MIB)
    assert verdict.leaks("server", before, Usage(descriptors=10, rss_bytes=120 * MIB)) == []
    assert len(verdict.leaks("server", before, Usage(descriptors=10, rss_bytes=130 * MIB))) == 1
