package wasm

import "golang.org/x/sys/unix"

// mapNoReserve keeps reserved address space out of the overcommit account.
const mapNoReserve = unix.MAP_NORESERVE
