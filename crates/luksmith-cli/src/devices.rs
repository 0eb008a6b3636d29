//! Opening what the command line names.

use std::path::Path;

use luksmith::{
    block::{FileDevice, FileOptions},
    header::Header,
};

use crate::{
    context::Context,
    failure::{Failure, Kind},
    options::{DeviceArgs, LimitArgs},
};

/// Opens a device to read.
pub(crate) fn reader(path: &Path) -> Result<FileDevice, Failure> {
    check_url(path)?;
    let opened = FileOptions::reader().open(path);
    opened.map_err(|error| Failure::from(error).at(path))
}

/// Opens a device to change.
pub(crate) fn writer(path: &Path) -> Result<FileDevice, Failure> {
    check_url(path)?;
    let opened = FileOptions::writer().open(path);
    opened.map_err(|error| Failure::from(error).at(path))
}

/// Reads the header that `device` has, and holds it against what the command line asks of it.
pub(crate) fn header(
    names: &DeviceArgs,
    device: &FileDevice,
    limits: &LimitArgs,
) -> Result<Header, Failure> {
    let judge = limits.judge(names.is_detached())?;
    let costs = limits.limits()?;
    let read = Header::read(device, &costs).map_err(Failure::from);
    read.and_then(|header| judge.check(&header).map(|()| header))
        .map_err(|failure| failure.at(names.header_path()))
}

/// Warns of a header that is read from its one good copy: the next damage loses the volume.
pub(crate) fn warn_of_fault(path: &Path, header: &Header, context: &Context) {
    if let Some(fault) = header.other_copy_fault() {
        let message = format!("{fault}; the other copy is used, `repair` makes both whole");
        Failure::new(Kind::DAMAGED, message).at(path).warn(context);
    }
}

/// A remote device is told apart from a file that does not exist.
fn check_url(path: &Path) -> Result<(), Failure> {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    match scheme {
        Some((scheme, _)) if !path.exists() => Err(Failure::new(
            Kind::UNSUPPORTED,
            format!(
                "{}: {scheme}:// devices are not supported yet",
                path.display()
            ),
        )),
        _ => Ok(()),
    }
}
