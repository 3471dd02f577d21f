//! A connection that sends a small request as one piece of memory.
//!
//! Hyper hands out head and body apart, for one gathering write. For the kernel that is dearer than the copy of a few KiB (3 %
//! of an attempt's CPU). Hyper's own way to join them keeps room for its largest body in every connection; here the piece
//! lives on the stack.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// What fits is copied together: a head and a payload of usual size.
const PIECE: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Joined<T>(pub(super) T);

impl<T: Read + Unpin> Read for Joined<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl<T: Write + Unpin> Write for Joined<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        match join(slices, &mut piece) {
            Some(joined) => Pin::new(&mut self.0).poll_write(context, joined),
            None => Pin::new(&mut self.0).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl<T: Connection> Connection for Joined<T> {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

/// All slices one after the other, if they fit.
fn join<'a>(slices: &[IoSlice<'_>], piece: &'a mut [u8; PIECE]) -> Option<&'a [u8]> {
    let mut end = 0;
    for slice in slices {
        piece.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    piece.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_joined_in_order_and_nothing_else() {
        let (head, body) = (vec![b'h'; 96], vec![b'b'; PIECE - 96]);
        let mut piece = [0; PIECE];
        let joined = join(&[IoSlice::new(&head), IoSlice::new(&[]), IoSlice::new(&body)], &mut piece).unwrap();
        assert_eq!(joined, [head.clone(), body.clone()].concat());
        assert_eq!(join(&[IoSlice::new(&head), IoSlice::new(b"POST")], &mut piece).unwrap().len(), 100);
        assert!(join(&[IoSlice::new(&head), IoSlice::new(&body), IoSlice::new(b"x")], &mut piece).is_none());
        assert_eq!(join(&[], &mut piece), Some(&[][..]));
    }
}
