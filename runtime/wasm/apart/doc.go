// Package apart runs a part of this program in a process of its own, with
// limits: work whose cost an attacker chooses, and that this process must
// survive.
//
// A Runner starts this very program again with a hidden verb; Serve is what the
// program does when it is called so. The child has no environment, no file
// descriptors but three, no capabilities, no network, may touch the files of
// one directory only, is the first that dies when memory runs out, and ends
// with its parent. Its memory, processor time, output and time are limited.
// What the system refuses of that is reported and stops nothing: the limits on
// processor time and memory, and the deadline, work everywhere on Linux.
//
// Neighbours: runtime/wasm compiles modules this way. Nothing here knows what
// the child works at.
package apart
