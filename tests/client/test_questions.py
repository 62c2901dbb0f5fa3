"""What the router is asked, when it answers no more."""

from __future__ import annotations

import pytest

from mesh.client.questions import Questions
from mesh.errors import RouterUnreachable
from mesh.protocol import messages as m


def test_an_error_that_is_raised_again_tells_of_this_time() -> None:
    questions = Questions(lambda: None)
    questions.end(RouterUnreachable("it is gone"))
    raised = []
    for _ in range(2):
        with pytest.raises(RouterUnreachable, match="it is gone") as caught:
            questions.ask(lambda token: m.Ask(token, "status", {}), 1.0, Exception)
        raised.append(caught.value)
    one, two = raised
    assert one is not two and one.__traceback__ is not two.__traceback__
