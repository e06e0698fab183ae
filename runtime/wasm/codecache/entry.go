package codecache

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// An entry, little-endian:
//
//	 0  magic, 8 bytes
//	 8  MAC: HMAC-SHA256 over domain, key, length of name, name, content
//	40  u32 length of name
//	44  name: where the content is to be placed, a path of two parts
//	..  content, to the end of the file
const (
	magic        = "cdcdcod1"
	domain       = "cdcd code cache 1\n"
	nameBytesMax = 256
	fixedBytes   = len(magic) + sha256.Size + 4
)

type header struct {
	mac  []byte
	name string
}

func readHeader(r io.Reader) (header, error) {
	fixed := make([]byte, fixedBytes)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return header{}, err
	}
	n := binary.LittleEndian.Uint32(fixed[fixedBytes-4:])
	if !bytes.HasPrefix(fixed, []byte(magic)) || n > nameBytesMax {
		return header{}, errors.New("it is not an entry")
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return header{}, err
	}
	return header{mac: fixed[len(magic) : len(magic)+sha256.Size], name: string(name)}, nil
}

// write writes an entry, its MAC last.
func (h header) write(f *os.File, secret []byte, k Key, content io.Reader) (int64, error) {
	start := make([]byte, fixedBytes, fixedBytes+len(h.name))
	copy(start, magic)
	binary.LittleEndian.PutUint32(start[fixedBytes-4:], uint32(len(h.name)))
	if _, err := f.Write(append(start, h.name...)); err != nil {
		return 0, err
	}
	mac := newMAC(secret, k, h.name)
	n, err := io.Copy(io.MultiWriter(mac, f), content)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt(mac.Sum(nil), int64(len(magic)))
	return n + int64(fixedBytes+len(h.name)), err
}

// copyHashed copies src to dst and to h, the latter on a processor of its own:
// both take about as long.
func copyHashed(dst io.Writer, h hash.Hash, src io.Reader) error {
	const chunkBytes = 256 << 10
	free, full := make(chan []byte, 2), make(chan []byte, 2)
	for range cap(free) {
		free <- make([]byte, chunkBytes)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range full {
			_, _ = h.Write(p)
			free <- p[:chunkBytes]
		}
	}()
	defer func() { <-done }()
	defer close(full)
	for {
		p := <-free
		n, err := io.ReadFull(src, p)
		if n > 0 {
			full <- p[:n]
			if _, err := dst.Write(p[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func newMAC(secret []byte, k Key, name string) hash.Hash {
	mac := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(mac, domain)
	_, _ = mac.Write(k[:])
	_, _ = mac.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(name))))
	_, _ = io.WriteString(mac, name)
	return mac
}

// goodName reports whether a name has two parts that stay where they are put.
func goodName(name string) bool {
	dir, file := filepath.Split(name)
	return len(name) <= nameBytesMax && filepath.IsLocal(name) && file != "" && dir != "" && filepath.Base(dir)+"/" == dir
}

// secretFile holds the MAC's key.
const secretFile = "mac.key"

const secretBytes = 32

// secret returns the MAC's key, which is read each time: another process may
// have made it anew. One that others may have read is no secret and is replaced.
func (c *Cache) secret() ([]byte, error) {
	for range 2 {
		f, err := c.root.OpenFile(secretFile, os.O_RDONLY|noWait, 0)
		if err == nil {
			p, err := readSecret(f)
			if err == nil {
				return p, nil
			}
			c.log.Warn("the code cache's key is made anew, and with it all code", "err", err)
			_ = c.root.RemoveAll(secretFile)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if err := c.makeSecret(); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the code cache's key changes under our hands")
}

func readSecret(f *os.File) ([]byte, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := ours(info); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || modesMatter && info.Mode().Perm()&0o077 != 0 || info.Size() != secretBytes {
		return nil, errors.New("the key is not a file of this user's alone")
	}
	p := make([]byte, secretBytes)
	_, err = io.ReadFull(f, p)
	return p, err
}

// makeSecret makes the key unless another process is faster.
func (c *Cache) makeSecret() error {
	p := make([]byte, secretBytes)
	_, _ = rand.Read(p) // never fails
	name := temporary()
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = c.root.Remove(name) }()
	_, err = f.Write(p)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := c.root.Link(name, secretFile); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// temporary returns the name of a file that is not yet what it will be.
func temporary() string {
	var p [8]byte
	_, _ = rand.Read(p[:])
	return temporaryPrefix + hex.EncodeToString(p[:])
}

const temporaryPrefix = "new-"
