"""When a campaign would begin and end: limits, soaks and windows are kept to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bondstone.campaign.forecast import WaveForecast, forecast
from bondstone.campaign.waves import CampaignTarget, Partition, WaveNumbers
from bondstone.campaign.windows import Freeze
from bondstone.model.campaign.manifest import CampaignSpec

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REST = [{"name": "rest", "rest": True}]


def played(
    sizes: list[int],
    *,
    group: str = "",
    soak: int = 0,
    freezes: dict[str, list[Freeze]] | None = None,
    **spec: object,
) -> list[WaveForecast]:
    targets = [
        CampaignTarget(f"t{number % 2}/s{wave}-{number}", "postgres", "1.4.1", "1.4.2", wave, group, "", "")
        for wave, size in enumerate(sizes)
        for number in range(size)
    ]
    waves = tuple(WaveNumbers(f"w{wave}", size, None, None, soak, None) for wave, size in enumerate(sizes))
    inputs = CampaignSpec.model_validate({"operation": "patch", "promise": "postgres", "waves": REST, **spec})
    plan = Partition(tuple(targets), waves, None, (), ())
    return forecast(inputs, plan, now=NOW, seconds=lambda _: 60.0, freezes=freezes)


def after(**time: float) -> datetime:
    return NOW + timedelta(**time)


@pytest.mark.parametrize(("concurrent", "minutes"), [(1, 10), (3, 4), (10, 1), (50, 1)])
def test_so_many_at_once_take_so_long(concurrent: int, minutes: int) -> None:
    assert played([10], max_concurrent=concurrent) == [WaveForecast("w0", NOW, after(minutes=minutes))]


def test_waves_come_one_after_the_other_with_their_soak_between() -> None:
    first, second = played([2, 2], soak=1800, max_concurrent=2)
    assert first.ends_at == second.starts_at == after(minutes=31)
    assert second.ends_at == after(minutes=62)


def test_one_group_has_its_own_limit() -> None:
    assert played([4], group="eu", per={"label": "region", "max_concurrent": 2})[0].ends_at == after(minutes=2)


def test_the_start_rate_spreads_the_starts() -> None:
    assert played([6], start_rate="2/m")[0].ends_at == after(minutes=3.5)


def test_nothing_starts_outside_the_windows() -> None:
    windows = {
        "allow": [{"cron": "0 22 * * *", "duration": "1h", "time_zone": "Europe/London"}],
        "cutoff": "58m",
    }
    [wave] = played([3], windows=windows, max_concurrent=1)
    assert wave.starts_at == after(hours=10)
    # At 22:00 and 22:01 one each; 22:02 is in the cutoff, so the third starts the day after.
    assert wave.ends_at == after(hours=34, minutes=1)


def test_a_freeze_of_a_team_holds_up_its_targets_only() -> None:
    freeze = Freeze("quarter-end", NOW, after(hours=5))
    [wave] = played([2], freezes={"t1": [freeze]})
    assert wave == WaveForecast("w0", NOW, after(hours=5, minutes=1))


def test_what_never_opens_has_no_end() -> None:
    first, second = played([2, 2], freezes={"": [Freeze("for-good", NOW)]})
    assert first == WaveForecast("w0", None, None)
    assert second == WaveForecast("w1", None, None)
