"""S56: uploads until the disk is full."""

from pathlib import Path

from studio.app import compose
from studio.settings import Settings
from tests.api.house import WANT, complaint, open_house, png


def test_a_full_space_is_said_and_painting_goes_on(checkpoints: Path, tmp_path: Path) -> None:
    app = compose(
        Settings(
            data_dir=tmp_path / "data",
            checkpoint_dirs=(checkpoints,),
            device="cpu",
            input_quota_bytes=1000,
        )
    )
    try:
        with (
            open_house(app, tmp_path, public=True) as house,
            house.client() as one,
            house.client() as two,
        ):
            sizes = iter(range(8, 200))
            while (
                answer := one.post("/api/inputs", content=png((next(sizes), 9)))
            ).status_code == 201:
                pass
            assert complaint(answer, 507)["message"].startswith("Your space is full (0.0 GB of")
            assert two.post("/api/inputs", content=png((8, 9))).status_code == 201
            assert one.post("/api/jobs", json=WANT).status_code == 202
            kept = [file for file in (tmp_path / "data" / "inputs").rglob("*") if file.is_file()]
            assert sum(file.stat().st_size for file in kept) <= 2000
    finally:
        app.close()


def test_a_nearly_full_disk_takes_no_new_job(checkpoints: Path, tmp_path: Path) -> None:
    app = compose(
        Settings(
            data_dir=tmp_path / "data",
            checkpoint_dirs=(checkpoints,),
            device="cpu",
            min_free_bytes=2**50,
        )
    )
    try:
        with open_house(app, tmp_path) as house, house.client() as client:
            complaint(client.post("/api/jobs", json=WANT), 507)
            assert client.get("/api/images").status_code == 200
    finally:
        app.close()
