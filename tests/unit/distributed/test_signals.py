"""Signals that ask for a stop: remembered or handled, and as they were afterwards."""

import os
import signal

import pytest

from aroface.distributed.signals import STOP_SIGNALS, StopRequest, handled, ignore_stop_signals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_request_remembers_the_signal(number):
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    stop = StopRequest()
    assert stop.number == 0
    with stop.listening():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # an echo
    assert stop.number == number
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


def test_handlers_are_restored_whatever_happens():
    before, seen = [signal.getsignal(number) for number in STOP_SIGNALS], []
    with pytest.raises(RuntimeError, match="inside"), handled(seen.append):
        os.kill(os.getpid(), signal.SIGUSR1)
        ignore_stop_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("inside")
    assert seen == [signal.SIGUSR1]
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
