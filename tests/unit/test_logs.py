"""What log lines hold, and what they must not."""

import subprocess
import sys

import pytest

_FAILING = """
import structlog
from rtagent.agent import logs

logs.configure("info", "{form}")

def fail():
    password = "swordfish"
    raise OSError("the disk is " + str(len(password)))

try:
    fail()
except OSError:
    structlog.get_logger().exception("it failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_where_and_no_local_variable(form):
    done = subprocess.run(
        [sys.executable, "-c", _FAILING.format(form=form)], capture_output=True, text=True, check=True
    )
    assert "it failed" in done.stderr
    assert "the disk is 9" in done.stderr
    assert "fail" in done.stderr
    assert "swordfish" not in done.stderr


def test_the_logs_do_without_rich_and_leave_it_to_others():
    code = "import sys; from rtagent.agent import logs; assert 'rich' not in sys.modules; import rich.table"
    subprocess.run([sys.executable, "-c", code], check=True)
