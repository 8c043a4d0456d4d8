//! A connection's bytes, read through one buffer per thread.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep};

/// One read takes at most this much.
const BUFFER: usize = 64 * 1024;

thread_local! {
    /// Lent for the duration of one poll: no connection owns a buffer while it waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
    /// Where requests are written before they are sent.
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A plaintext TCP connection.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
}

impl Stream {
    pub(super) async fn connect(address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bytes) = receive_buffer {
            // Before connecting: the window is negotiated from it.
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nodelay(true)?;
        Ok(Self {
            tcp: socket.connect(address).await?,
        })
    }

    /// Sends what `write` writes as far as the socket takes it now; returns the rest, which is almost always nothing.
    pub(super) fn send_now(&self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<Option<Vec<u8>>> {
        OUTGOING.with_borrow_mut(|outgoing| {
            outgoing.clear();
            write(outgoing);
            let sent = match self.tcp.try_write(outgoing) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            Ok((sent < outgoing.len()).then(|| outgoing[sent..].to_vec()))
        })
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes).await
    }

    /// Waits for bytes, at most `limit`, and hands them to `consume` in place. Returns how many came, where 0 is the end, or
    /// `None` if nothing came by `deadline`.
    ///
    /// The alarm is any one that lives as long as the exchange: it is set anew only when it has to be, not for each read.
    pub(super) async fn read_by(
        &mut self,
        limit: usize,
        deadline: Instant,
        mut alarm: Pin<&mut Sleep>,
        mut consume: impl FnMut(&[u8]),
    ) -> io::Result<Option<usize>> {
        let limit = limit.clamp(1, BUFFER);
        if deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        std::future::poll_fn(|context| {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..limit]);
                Pin::new(&mut self.tcp).poll_read(context, &mut buffer).map_ok(|()| {
                    let filled = buffer.filled();
                    if !filled.is_empty() {
                        consume(filled);
                    }
                    filled.len()
                })
            });
            if let Poll::Ready(read) = read {
                return Poll::Ready(read.map(Some));
            }
            while alarm.as_mut().poll(context).is_ready() {
                if alarm.deadline() >= deadline {
                    return Poll::Ready(Ok(None));
                }
                // Set for an earlier read, which was answered in time.
                alarm.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}
