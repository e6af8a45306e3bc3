from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from rdkit import Chem, rdBase

from polyml.interrupts import deaf_children, interrupts_of_rdkit

needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@needs_posix
@pytest.mark.usefixtures("_python_hears_ctrl_c")
def test_a_ctrl_c_that_rdkit_takes_comes_back():
    fused = Chem.MolFromSmiles("C1CC2CCC3CCC4CCC5CCC6CCCC7C6C5C4C3C2C17")
    chain = Chem.MolFromSmarts("*" + "~*" * 14)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), interrupts_of_rdkit() as check:  # noqa: PT012
        timer.start()
        for _ in range(400):
            fused.GetSubstructMatches(chain, maxMatches=10**7, uniquify=False)
            check()
    timer.join()


@pytest.fixture
def _python_hears_ctrl_c():
    """Whoever runs the tests in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_other_messages_of_rdkit_stop_nothing():
    with interrupts_of_rdkit() as check:
        Chem.MolFromSmiles("C(")
        rdBase.LogWarningMsg("something else")
        check()


@needs_posix
def test_children_ignore_ctrl_c_and_their_parent_does_not():
    handler = signal.getsignal(signal.SIGINT)
    ask = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"]
    with deaf_children():
        found = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"
    assert signal.getsignal(signal.SIGINT) == handler
