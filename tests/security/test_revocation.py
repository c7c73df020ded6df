"""Revoked tokens, and the folder that other workers read."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from flask_bokeh import SessionEndedError
from flask_bokeh.security.limits import Limits
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.revocation import RevocationList
from flask_bokeh.settings import Settings

from ..support.limits import ANN, ISSUER, Clock, context, token


def test_an_ended_session_does_not_come_back(clock: Clock) -> None:
    """Tokens issued before a logout can be neither reserved nor confirmed; later ones can."""
    ended = RevocationList(lambda: None, 60)
    limits = Limits(Settings(), ended, clock)
    lives, waits, other = token(), token(), token(Principal(user="bob"))
    for one in (lives, waits, other):
        limits.reserve(one, ANN)
    limits.confirm(lives, context)
    subject_digests, now = ISSUER.subject_digests(Principal(user="ann")), time.time()
    ended.revoke(subject_digests, now)
    later = token()
    limits.reserve(later, ANN)
    (reservation, _), news = limits.close(subject_digests, now)
    assert news == 2
    assert limits.close(subject_digests, now)[1] == 0
    assert reservation.session_id == lives.visit.session_id
    for one in (lives, waits):
        with pytest.raises(SessionEndedError):
            limits.reserve(one, ANN)
        with pytest.raises(SessionEndedError):
            limits.confirm(one, context)
    limits.confirm(other, context)
    limits.release(lives.visit.session_id, context)
    assert not limits.is_held(reservation)
    with pytest.raises(SessionEndedError):
        limits.reserve(lives, ANN)
    assert limits.reserve(later, ANN) is False
    assert limits.reserve(token(), ANN) is True


def test_revocations_are_shared_through_the_folder(tmp_path: Path) -> None:
    """Workers read the revocations of others, even earlier ones; outdated records are deleted."""
    here, later = RevocationList(lambda: tmp_path, 3600), RevocationList(lambda: tmp_path, 3600)
    now = time.time()
    here.revoke(["ann"], now)
    assert here._revoked_at("ann") >= now - 1e-6
    assert later._revoked_at("ann") >= now - 1e-6
    assert later._revoked_at("bob") == 0
    here.revoke(["old"], now - 7200)
    later.revoke(["bob"], now)
    (folder,) = tmp_path.iterdir()  # that of old ones is gone
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(file.name for file in folder.iterdir()) == ["ann", "bob"]
    assert stat.S_IMODE((folder / "ann").stat().st_mode) == 0o600


def test_revocation_lasts_as_long_as_old_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later revocation deletes no record that is still needed."""
    ended, start = RevocationList(lambda: tmp_path, 3600), time.time()
    ended.revoke(["ann"], start)
    other = RevocationList(lambda: tmp_path, 3600)
    monkeypatch.setattr(time, "time", lambda: start + 3599)
    other.revoke(["bob"], start + 3599)
    assert other._revoked_at("ann") >= start - 1e-6


def test_old_revocations_are_deleted_in_small_batches(tmp_path: Path) -> None:
    """Each revocation deletes a few outdated records, until all are gone."""
    now = time.time()
    ended = RevocationList(lambda: tmp_path, 3600)
    old = ended._records(tmp_path, now - 8000)
    old.mkdir()
    for number in range(1000):
        (old / str(number)).touch()
    for number in range(5):
        ended.revoke([f"user {number}"], now)
    assert 0 < len(list(old.iterdir())) < 1000
    for number in range(10):
        ended.revoke([f"more {number}"], now)
    assert not old.exists()
    assert len(list(ended._records(tmp_path, now).iterdir())) == 15


def test_revocation_without_a_folder_counts_in_this_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A revocation is kept in memory; an expected folder that is missing is logged."""
    alone = RevocationList(lambda: None, 3600)
    for number in range(1000):
        alone.revoke([f"old {number}"], 5.0)
    alone.revoke(["ann"], time.time())
    assert alone._revoked_at("ann") > 0
    assert len(alone._times) < 500
    assert caplog.text == ""
    gone = RevocationList(lambda: tmp_path / "gone", 3600)
    gone.revoke(["ann"], time.time())
    assert gone._revoked_at("ann") > 0
    assert "Other workers may not learn of a logout" in caplog.text
