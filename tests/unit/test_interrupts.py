from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from rdkit import Chem, rdBase

from polyml.interrupts import deaf_children, interrupts_of_rdkit

needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


_SEARCH = """
import os, signal, threading
from rdkit import Chem
from polyml.interrupts import interrupts_of_rdkit
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores Ctrl-C
fused = Chem.MolFromSmiles("C1CC2CCC3CCC4CCC5CCC6CCCC7C6C5C4C3C2C17")
chain = Chem.MolFromSmarts("*" + "~*" * 14)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    with interrupts_of_rdkit() as check:
        for _ in range(4000):
            fused.GetSubstructMatches(chain, maxMatches=10**7, uniquify=False)
            check()
except KeyboardInterrupt:
    print("heard")
"""


@needs_posix
def test_a_ctrl_c_while_rdkit_searches_is_heard():
    done = subprocess.run([sys.executable, "-c", _SEARCH], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "heard", done.stderr


def test_a_search_that_was_cut_short_is_an_interrupt():
    with interrupts_of_rdkit() as check:
        rdBase.LogWarningMsg("Substructure search was interrupted, result may not include all matches")
        with pytest.raises(KeyboardInterrupt):
            check()


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
