"""The query worker with real processes: catalogs, searches, its queue, and how it ends."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.options import MatcherOptions
from streamer.query.asking import ask, ask_for_job, ask_for_picture, read_job
from streamer.query.refusals import QueryRefusedError
from streamer.query.requests import (
    AddPictures,
    AddressPicture,
    CancelJob,
    Check,
    CreateCatalog,
    DecideDuplicate,
    DeleteCatalog,
    FindDuplicates,
    FramePicture,
    JobList,
    JobView,
    LabelItem,
    ListCatalogs,
    ListGenerations,
    ListItems,
    ListJobs,
    ReadPicture,
    Rebuild,
    RemoveItem,
    RemovePicture,
    RollBack,
    Search,
    ShowCatalog,
    ShowItem,
    ShowJob,
)
from streamer.query.results import (
    AddResult,
    CatalogList,
    CatalogView,
    CheckResult,
    DuplicateList,
    GenerationList,
    ItemList,
    ItemView,
    SearchResult,
)
from tests.catalog_tools.test_fetch import LOOPBACK
from tests.fakes import wait_until
from tests.pipeline.matcher_rig import SEED, build_pack_catalog
from tests.streamer.query.query_rig import Start, pack


def refused(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(QueryRefusedError) as error:
        act()
    return error.value.refusal.status, str(error.value)


def test_a_catalog_from_its_first_picture_to_its_end(start: Start) -> None:
    rig = start()
    draft = rig.create()
    assert draft.is_draft and draft.n_pictures == 0
    added = rig.add("tea", 0, 1, label="Green tea", if_match=draft.etag)
    assert added.state == "done"
    result = AddResult.model_validate(added.result)
    assert (result.catalog.generation, result.catalog.n_pictures) == (1, 2)
    rig.add("milk", 2)

    items = ask(rig.run_dir, ListItems(catalog="shelf"), ItemList)
    assert [(item.item_id, item.label, item.n_pictures) for item in items.items] == [
        ("milk", "milk", 1),
        ("tea", "Green tea", 2),
    ]
    page = ask(rig.run_dir, ListItems(catalog="shelf", limit=1), ItemList)
    assert page.is_more and page.n_total == 2
    page = ask(rig.run_dir, ListItems(catalog="shelf", q="GREEN"), ItemList)
    assert [item.item_id for item in page.items] == ["tea"] and not page.is_more

    tea = ask(rig.run_dir, ShowItem(catalog="shelf", item_id="tea"), ItemView)
    assert [p.image for p in tea.pictures] == ["0.png", "1.png"]
    jpeg = ask_for_picture(rig.run_dir, ReadPicture(catalog="shelf", sha256=tea.pictures[0].sha256))
    assert jpeg[:2] == b"\xff\xd8"

    sha256 = tea.pictures[1].sha256
    for change in (
        LabelItem(catalog="shelf", item_id="tea", label="Tea"),
        RemovePicture(catalog="shelf", item_id="tea", sha256=sha256),
        RemoveItem(catalog="shelf", item_id="milk"),
    ):
        assert rig.job(change).state == "done"
    generations = ask(rig.run_dir, ListGenerations(catalog="shelf"), GenerationList).generations
    assert [one.generation for one in generations if one.in_use] == [5]
    view = ask(rig.run_dir, RollBack(catalog="shelf", to=2), CatalogView)
    assert (view.generation, view.n_items) == (2, 2)
    assert rig.job(Rebuild(catalog="shelf")).state == "done"
    deleted = ask(rig.run_dir, DeleteCatalog(catalog="shelf"), CatalogView)
    assert deleted.n_items == 2 and not (rig.catalogs / "shelf").exists()
    assert ask(rig.run_dir, ListCatalogs(), CatalogList).catalogs == ()


def test_a_search_names_what_is_in_pictures(start: Start, tmp_path: Path) -> None:
    elsewhere = build_pack_catalog(tmp_path / "other", [SEED + n for n in range(4)])
    rig = start(configured={"packs": elsewhere})
    pictures = (
        FramePicture(name="two.png", frame=0),
        FramePicture(name="bad.png", frame=1),
        FramePicture(name="one.png", frame=2),
        AddressPicture(url="https://127.0.0.1/a.jpg?token=hunter2"),
        FramePicture(name="lost.png", frame=7),
    )
    request = Search(catalog="packs", pictures=pictures, k=3, one_per_item=True)
    job = rig.job(request, [pack(2), b"text", pack(1)])
    result = SearchResult.model_validate(job.result)
    found = {picture.image: picture for picture in result.pictures}
    assert (job.n_done, job.n_total, result.generation) == (5, 5, 1)
    two = found["two.png"]
    assert two.matches[0].item_id == "pack-2" and two.matches[0].tier == "exact"
    assert two.matches[0].picture is not None and two.matches[0].picture.image == "pack-2.png"
    assert two.matches[0].percent == pytest.approx(100 * two.matches[0].probability, abs=0.1)
    assert len(two.ranked) == 3 and two.size_wh == (220, 300)
    assert found["one.png"].ranked[0].item_id == "pack-1"
    assert found["bad.png"].error == "is no picture of a known format"
    assert found["lost.png"].error == "was not sent"
    (address,) = [name for name in found if name.startswith("https://")]
    assert "hunter2" not in address and "not public" in str(found[address].error)
    unlikely = Search(catalog="packs", pictures=pictures[:1], min_probability=1.0)
    (picture,) = SearchResult.model_validate(rig.job(unlikely, [pack(2)]).result).pictures
    assert picture.matches == picture.ranked == ()
    status, told = refused(lambda: ask(rig.run_dir, DeleteCatalog(catalog="packs"), CatalogView))
    assert status == "conflict" and "the configuration names it" in told
    assert (elsewhere / "CURRENT").exists()


def test_check_and_duplicates(start: Start) -> None:
    rig = start()
    rig.create()
    rig.add("tea", 0, 1)
    rig.add("tee", 0)
    checked = CheckResult.model_validate(rig.job(Check(catalog="shelf")).result)
    assert checked.damaged == () and len(checked.qualities) == 3
    (pair,) = DuplicateList.model_validate(rig.job(FindDuplicates(catalog="shelf")).result).pairs
    assert {pair.one.item_id, pair.other.item_id} == {"tea", "tee"}
    keep = DecideDuplicate(catalog="shelf", one=pair.one, other=pair.other, choice="keep")
    assert rig.job(keep).state == "done"
    again = DuplicateList.model_validate(rig.job(FindDuplicates(catalog="shelf")).result)
    assert again.pairs == ()


def test_bad_pictures_are_told_one_by_one_and_none_usable_fails(start: Start) -> None:
    rig = start()
    rig.create()
    pictures = (FramePicture(name="a.png", frame=0), FramePicture(name="b.png", frame=1))
    request = AddPictures(catalog="shelf", item_id="tea", pictures=pictures)
    result = AddResult.model_validate(rig.job(request, [b"text", pack(0)]).result)
    assert [(x.image, x.reason) for x in result.left_out] == [
        ("a.png", "is no picture of a known format")
    ]
    failed = rig.job(request, [b"", b"%PDF-"])
    assert failed.state == "failed" and failed.refused is not None
    assert failed.refused.status == "invalid" and "a.png is empty" in failed.refused.rule
    assert ask(rig.run_dir, ShowCatalog(catalog="shelf"), CatalogView).n_pictures == 1


def test_what_is_wrong_is_refused_with_its_kind(start: Start) -> None:
    rig = start()
    draft = rig.create()
    assert refused(rig.create) == (
        "conflict",
        f"catalog '{rig.catalogs}/shelf': exists already; choose another name",
    )
    assert refused(lambda: rig.add("tea", 0, name="no"))[0] == "missing"
    rig.add("tea", 0)
    assert refused(lambda: rig.add("tea", 1, if_match=draft.etag))[0] == "changed"
    missing = rig.job(RemoveItem(catalog="shelf", item_id="milk"))
    assert missing.refused is not None and missing.refused.status == "missing"
    assert refused(lambda: ask(rig.run_dir, ShowJob(id="0" * 16), JobView))[0] == "missing"
    assert refused(lambda: ask(rig.run_dir, ShowJob(id="../x"), JobView))[0] == "missing"
    bad = CreateCatalog.model_construct(do="create", catalog="../up")
    status, told = refused(lambda: ask(rig.run_dir, bad, CatalogView))
    assert status == "invalid" and "question.create.catalog" in told
    large = Search(catalog="shelf", pictures=(FramePicture(name="a", frame=0),))
    status, told = refused(lambda: rig.job(large, [bytes(20 * 2**20), bytes(20 * 2**20)]))
    assert status == "invalid" and "32 MiB in all" in told


def test_a_catalog_that_is_being_written_is_told_as_locked(start: Start, tmp_path: Path) -> None:
    from pipeline.catalog_writing import catalog_lock

    rig = start()
    rig.create()
    rig.add("tea", 0)
    with catalog_lock(rig.catalogs / "shelf"):
        status, told = refused(
            lambda: ask(rig.run_dir, DeleteCatalog(catalog="shelf"), CatalogView)
        )
        assert status == "conflict" and "another command is writing it" in told
        assert refused(lambda: rig.add("tea", 1))[0] == "conflict"


def test_one_job_at_a_time_a_short_queue_and_progress(start: Start) -> None:
    """While one job is held up, as many wait as may; the next is refused, reading goes on."""
    rig = start(queue=2)
    rig.create()
    rig.hold.touch()
    running = rig.add("tea", 0, wait_s=0)
    wait_until(
        lambda: ask(rig.run_dir, ShowJob(id=running.id), JobView).state == "running", "running"
    )
    waiting = [rig.add("tea", n, wait_s=0) for n in (1, 2)]
    with pytest.raises(QueryRefusedError) as busy:
        rig.add("tea", 3, wait_s=0)
    assert busy.value.refusal.status == "busy" and busy.value.refusal.retry_after_s
    assert ask(rig.run_dir, ListCatalogs(), CatalogList).catalogs[0].is_draft
    jobs = ask(rig.run_dir, ListJobs(), JobList).jobs
    assert [job.state for job in jobs] == ["queued", "queued", "running"]
    cancelled = ask(rig.run_dir, CancelJob(id=waiting[0].id), JobView)
    assert cancelled.state == "cancelled"
    rig.hold.unlink()
    wait_until(lambda: read_job(rig.run_dir, waiting[1].id), "the last one done")
    assert read_job(rig.run_dir, running.id).state == "done"  # type: ignore[union-attr]
    view = ask(rig.run_dir, ShowCatalog(catalog="shelf"), CatalogView)
    assert view.n_pictures == 2


def test_a_job_that_runs_is_cancelled_and_changes_nothing(start: Start) -> None:
    rig = start()
    rig.create()
    rig.add("tea", 0)
    before = ask(rig.run_dir, ShowCatalog(catalog="shelf"), CatalogView)
    rig.hold.touch()
    job = rig.add("tea", 1, wait_s=0)
    wait_until(lambda: ask(rig.run_dir, ShowJob(id=job.id), JobView).state == "running", "running")
    ask(rig.run_dir, CancelJob(id=job.id), JobView)
    rig.hold.unlink()
    wait_until(lambda: read_job(rig.run_dir, job.id), "the job's end")
    assert read_job(rig.run_dir, job.id).state == "cancelled"  # type: ignore[union-attr]
    assert ask(rig.run_dir, ShowCatalog(catalog="shelf"), CatalogView) == before


def test_a_search_that_nobody_waits_for_any_more_is_given_up(start: Start, tmp_path: Path) -> None:
    rig = start()
    rig.create()
    rig.hold.touch()
    rig.add("tea", 0, wait_s=0)
    search = Search(catalog="shelf", pictures=(FramePicture(name="a", frame=0),))
    view = ask_for_job(rig.run_dir, search, [pack(0)], wait_s=0.1, is_given_up=True)
    assert view.state == "cancelled"


def test_a_bug_in_a_job_is_told_without_its_text_and_the_worker_goes_on(start: Start) -> None:
    rig = start(loader="tests.query_tools:load_none")
    rig.create()
    failed = rig.add("tea", 0)
    assert failed.refused is not None and failed.refused.status == "broken"
    assert failed.refused.rule == "failed by an error of its own (RuntimeError)"
    assert ask(rig.run_dir, ListCatalogs(), CatalogList).catalogs[0].name == "shelf"


def test_addresses_of_a_listed_network_are_added(start: Start) -> None:
    import http.server

    data = pack(3)

    class Shop(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    rig = start(fetch={"networks": LOOPBACK, "http": True})
    rig.create()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tea.png"
        request = AddPictures(catalog="shelf", item_id="tea", pictures=(AddressPicture(url=url),))
        assert rig.job(request).state == "done"
        server.shutdown()
    item = ask(rig.run_dir, ShowItem(catalog="shelf", item_id="tea"), ItemView)
    assert item.pictures[0].image == url


def test_weights_other_than_the_catalogs_are_refused(start: Start, tmp_path: Path) -> None:
    """A catalog that was built with other weights is told as such, and a rebuild mends it."""
    from catalog_tools.build import build_catalog
    from tests.catalog_tools.drawn_pictures import draw
    from tests.fake_networks import make_networks

    draw(tmp_path / "images" / "a.png", 1)
    build_catalog(tmp_path / "images", tmp_path / "old", make_networks(sha256="ab" * 32))
    rig = start(configured={"old": tmp_path / "old"}, matcher=MatcherOptions())
    search = Search(catalog="old", pictures=(FramePicture(name="a", frame=0),))
    failed = rig.job(search, [pack(0)])
    assert failed.refused is not None and "built with embedder abababab…" in failed.refused.rule
    assert rig.job(Rebuild(catalog="old")).state == "done"
    assert rig.job(search, [pack(0)]).state == "done"
