use fax_image::{Bitmap, Ink, Resolution};

use super::*;

/// A single-page TIFF with a bar of this length.
fn page(bar: u32) -> Vec<u8> {
    let mut bitmap = Bitmap::white(1728, 100).expect("a small page");
    bitmap.fill_rect(10, 10, bar, 5, Ink::Black);
    let mut writer = TiffWriter::new();
    writer.push(&TiffPage::new(&bitmap, Resolution::FINE, Profile::F)).expect("a good page");
    writer.finish().expect("one page")
}

fn name(id: &str) -> FaxName {
    FaxName::new("+99910200", Some(id), 7)
}

/// What a user sees in the folder: names and their number of pages.
fn seen(folder: &Path) -> Vec<(String, usize)> {
    let mut seen: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let file = fs::read(&path).expect("a file");
            let pages = TiffReader::open(&file).map_or(0, |reader| reader.page_count());
            (path.file_name().expect("a name").to_string_lossy().into_owned(), pages)
        })
        .collect();
    seen.sort();
    seen
}

fn list(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected.iter().map(|(name, pages)| ((*name).to_owned(), *pages)).collect()
}

#[test]
fn names_hold_only_what_is_harmless_in_a_file_name() {
    for (number, id, expected) in [
        ("+41441234567", Some("F-8KQ2"), "+41441234567-F-8KQ2"),
        ("+41/../44", Some("../x"), "+4144-0000000000000007"),
        ("alice", None, "unknown-0000000000000007"),
        ("", Some(""), "unknown-0000000000000007"),
    ] {
        let name = FaxName::new(number, id, 7);
        assert_eq!(format!("{}-{}", name.number(), name.id()), expected);
    }
}

#[test]
fn a_fax_becomes_one_file_and_never_covers_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let tray = Tray::open(folder.path()).expect("a tray");
    for _ in 0..2 {
        let mut work = tray.begin(name("A")).expect("a work file");
        work.append(&page(1)).expect("a page");
        work.append(&page(2)).expect("a page");
        assert!(work.close(true).expect("a file").is_some());
        assert_eq!(work.close(false).expect("nothing more"), None);
    }
    let mut broken = tray.begin(name("A")).expect("a work file");
    broken.append(&page(1)).expect("a page");
    broken.close(false).expect("a file");
    let mut empty = tray.begin(name("B")).expect("a work file");
    assert_eq!(empty.close(false).expect("nothing"), None);
    drop((broken, empty));
    let expected = list(&[("+99910200-A-2.tif", 2), ("+99910200-A.partial.tif", 1), ("+99910200-A.tif", 2)]);
    assert_eq!(seen(folder.path()), expected);
}

#[test]
fn a_killed_machine_loses_nothing_that_it_had_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let tray = Tray::open(folder.path()).expect("a tray");
    let mut whole = tray.begin(name("A")).expect("a work file");
    whole.append(&page(1)).expect("a page");
    let mut torn = tray.begin(name("B")).expect("a work file");
    torn.append(&page(1)).expect("a page");
    torn.append(&page(2)).expect("a page");
    let mut none = tray.begin(name("C")).expect("a work file");
    none.append(&page(1)).expect("a page");
    let mut done = tray.begin(name("D")).expect("a work file");
    done.append(&page(1)).expect("a page");
    done.file.write_all(&COMPLETE.to_be_bytes()).expect("a mark");
    // As kill -9 leaves it: no destructor, the last record in part.
    let cut = |work: &Work, octets: u64| {
        let file = OpenOptions::new().write(true).open(&work.path).expect("the work file");
        let length = file.metadata().expect("its length").len();
        file.set_len(length - octets).expect("a shorter file");
    };
    cut(&torn, 3);
    cut(&none, 3);
    let published =
        publish(folder.path(), "+99910200-D", true, &assemble(&[page(1)]).expect("a TIFF"), Same::IsAnother);
    published.expect("killed between publishing and removing the work file");
    for work in [whole, torn, none, done] {
        std::mem::forget(work);
    }
    Tray::open(folder.path()).expect("a tray");
    let expected = list(&[("+99910200-A.partial.tif", 1), ("+99910200-B.partial.tif", 1), ("+99910200-D.tif", 1)]);
    assert_eq!(seen(folder.path()), expected);
}
