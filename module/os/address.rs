//! Socket addresses, as the kernel writes them and as we do.

use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An address in the kernel's form, of any family that we speak.
#[derive(Clone, Copy)]
pub struct RawAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl RawAddress {
    /// Room for an address that a call is to fill.
    pub(super) fn empty() -> Self {
        // SAFETY: a sockaddr_storage is plain integers, for which zero is a value.
        let storage = unsafe { mem::zeroed() };
        Self { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// The address of a Unix socket in the file system.
    ///
    /// # Errors
    /// When the path is longer than the kernel allows (107 bytes), or has a zero byte in it.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let mut name = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: [0; 108],
        };
        if bytes.len() >= name.sun_path.len() || bytes.contains(&0) || bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a socket's path has 1 to 107 bytes, none of them zero",
            ));
        }
        for (place, byte) in name.sun_path.iter_mut().zip(bytes) {
            *place = *byte as libc::c_char;
        }
        Ok(Self::holding(name))
    }

    fn holding<T: Copy>(name: T) -> Self {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        let mut held = Self::empty();
        // SAFETY: a sockaddr_storage is made to hold any address: it is large and aligned enough.
        unsafe { (&raw mut held.storage).cast::<T>().write(name) };
        held.length = size_of::<T>() as libc::socklen_t;
        held
    }

    /// The family, for `socket(2)`.
    pub(super) fn family(&self) -> libc::c_int {
        libc::c_int::from(self.storage.ss_family)
    }

    /// For a call that reads the address.
    pub(super) fn as_ptr(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.length)
    }

    /// For a call that fills it.
    pub(super) fn as_mut_ptr(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.length)
    }

    /// The internet address in it, if it is one.
    pub fn internet(&self) -> Option<SocketAddr> {
        match self.family() {
            libc::AF_INET => {
                // SAFETY: the family says what the storage holds, and the storage is large enough.
                let name = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let name = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
                let port = u16::from_be(name.sin6_port);
                Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.internet() {
            Some(address) => write!(f, "RawAddress({address})"),
            None => write!(f, "RawAddress(family {})", self.family()),
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::holding(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => Self::holding(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_addresses_survive_the_kernels_form() {
        for text in ["127.0.0.1:6379", "[::1]:65535", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::from(address).internet(), Some(address));
        }
        assert_eq!(RawAddress::unix(Path::new("/tmp/x")).unwrap().internet(), None);
    }

    #[test]
    fn a_socket_path_that_the_kernel_would_cut_is_refused() {
        assert!(RawAddress::unix(Path::new(&"x".repeat(107))).is_ok());
        for path in ["", "a\0b", &"x".repeat(108)] {
            assert!(RawAddress::unix(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
