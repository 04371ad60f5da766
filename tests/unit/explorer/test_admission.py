"""Links and sessions of an explorer, against a clock of the test's own."""

from broker.explorer.admission import LINK_LIFE, SESSION_LIFE, Admission


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_link_is_redeemed_once():
    """The second one to have it has nothing."""
    admission = Admission(Clock())
    token = admission.new_link()
    cookie = admission.redeem(token)

    assert cookie is not None
    assert admission.admits(cookie)
    assert None is admission.redeem(token)


def test_a_link_is_too_old_after_its_life():
    """And is used up by the try."""
    clock = Clock()
    admission = Admission(clock)
    token = admission.new_link()
    clock.now = LINK_LIFE

    assert None is admission.redeem(token)
    clock.now = 0.0
    assert None is admission.redeem(token)


def test_a_wrong_token_does_not_use_the_link_up():
    """Or anybody on this machine could keep its owner out."""
    admission = Admission(Clock())
    token = admission.new_link()

    assert None is admission.redeem("")
    assert None is admission.redeem(f"{token}x")
    assert None is not admission.redeem(token)


def test_a_session_ends():
    """Twelve hours later the browser is a stranger again."""
    clock = Clock()
    admission = Admission(clock)
    cookie = admission.redeem(admission.new_link())

    assert cookie is not None
    clock.now = SESSION_LIFE - 1
    assert admission.admits(cookie)
    clock.now = SESSION_LIFE
    assert not admission.admits(cookie)


def test_sessions_are_bounded():
    """The oldest one ends for another, and memory stays as it is."""
    admission = Admission(Clock())
    cookies = [admission.redeem(admission.new_link()) for _ in range(9)]

    assert [False, *[True] * 8] == [admission.admits(one or "") for one in cookies]


def test_two_explorers_have_cookies_of_different_names():
    """Cookies know no ports: one must not overwrite the other's."""
    assert Admission(Clock()).cookie != Admission(Clock()).cookie


def test_nothing_secret_is_in_its_repr():
    """Neither the token of a link nor a cookie."""
    admission = Admission(Clock())
    token = admission.new_link()
    cookie = admission.redeem(token)

    assert "Admission(sessions=1)" == repr(admission)
    assert not {token, cookie} & set(map(str, vars(admission).values()))
