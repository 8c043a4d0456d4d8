//! A connection's bytes, read through one buffer per thread.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// One read takes at most this much.
const BUFFER: usize = 64 * 1024;

thread_local! {
    /// Lent for the duration of one poll: no connection owns a buffer while it waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
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

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes).await
    }

    /// Waits for bytes, at most `limit`, and hands them to `consume` in place. Returns how many came; 0 is the end.
    pub(super) async fn read_with(&mut self, limit: usize, mut consume: impl FnMut(&[u8])) -> io::Result<usize> {
        let limit = limit.clamp(1, BUFFER);
        std::future::poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..limit]);
                match Pin::new(&mut self.tcp).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) => {
                        let filled = buffer.filled();
                        if !filled.is_empty() {
                            consume(filled);
                        }
                        Poll::Ready(Ok(filled.len()))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await
    }
}
