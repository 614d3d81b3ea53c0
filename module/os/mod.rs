//! epoll, sockets, eventfd, clock.
