"""Which answers use a name that the assignment denies them."""

from __future__ import annotations

import pytest

from course_lib.grading.answers import denied_name

DENY = ("torch.distributions", "torch.nn.functional.kl_div", "stft")
DENIED = {
    "torch.distributions.kl_divergence(p, q)": "torch.distributions",
    "import torch.distributions as d": "torch.distributions",
    "from torch import distributions as d": "torch.distributions",
    "from torch import (nn as n,\n  distributions as d)": "torch.distributions",
    "from torch.distributions.kl import kl_divergence as k": "torch.distributions",
    "import math, torch.distributions": "torch.distributions",
    "import torch as t\nt.distributions": "torch.distributions",
    "d = torch.distributions": "torch.distributions",
    "t = torch\nd = t.distributions.Normal": "torch.distributions",
    "x = torch . \\\n distributions": "torch.distributions",
    "(torch\n  # why not\n  .distributions)": "torch.distributions",
    "from torch import *\ndistributions.Normal": "torch.distributions",
    "f'{torch.distributions.Normal(0, 1)}'": "torch.distributions",
    "getattr(torch, 'distributions')": "torch.distributions",
    "__import__('torch.distributions')": "torch.distributions",
    "sys.modules['torch.distributions'].kl_divergence(p, q)": "torch.distributions",
    "match torch:\n case object(distributions=d): pass": "torch.distributions",
    "𝓽𝓸𝓻𝓬𝓱.distributions": "torch.distributions",  # Python reads it as torch
    "%'''\nd = torch.distributions\n%'''": "torch.distributions",  # run with `pass` for the commands
    "F.kl_div(p, q)": "torch.nn.functional.kl_div",
    "nn.functional.kl_div(p, q)": "torch.nn.functional.kl_div",
    "from torch.nn import functional as G\nG.kl_div(p)": "torch.nn.functional.kl_div",
    "wave.stft(512)": "stft",
    "(torch).stft": "stft",
    "g = getattr(torch, 'stft')": "stft",
    "'''torch.distributions is denied here'''": "",
    "# torch.distributions": "",
    "print('see torch.distributions')": "",
    "kinds = ('stft', 'plain')": "",
    "mine.distributions(torch)": "",
    "torch.distributions_of_mine, my_stft, istft": "",
    "def f(x):\n    return x.softmax(-1)": "",
}


@pytest.mark.parametrize("source", DENIED)
def test_denied_names(source: str) -> None:
    assert denied_name(source, DENY) == DENIED[source]
    assert denied_name(source, ()) == ""


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ["'''\\", "(", "'", '"""x', "a.b.", "a=b;", "import a as b,", "from a import *\n", "\\\n", "1.", "f'", "é"]
)
def test_hostile_text_is_cut_into_tokens_in_time(piece: str) -> None:
    assert denied_name(piece * (100_000 // len(piece)), DENY) == ""
