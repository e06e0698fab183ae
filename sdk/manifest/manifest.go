package manifest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

// ErrModule is returned, wrapped with the place, for bytes that are not a core
// WebAssembly module.
var ErrModule = errors.New("not a WebAssembly module")

// ErrMissing is returned for a module without a manifest.
var ErrMissing = errors.New("the module has no section " + sdk.ManifestSection)

// BytesMax bounds a manifest.
const BytesMax = 256 << 10

// header is the magic and version of a core module, WebAssembly 1.0 binary
// format section 5.5.1; a component's differs in the last four bytes.
var header = []byte("\x00asm\x01\x00\x00\x00")

// Read returns the manifest of a module. The error is ErrModule, ErrMissing or
// says what is wrong with the manifest.
func Read(module []byte) (sdk.Manifest, error) {
	var found []byte
	err := sections(module, func(_, _ int, name string, content []byte) {
		if name == sdk.ManifestSection {
			found = content
		}
	})
	if err != nil {
		return sdk.Manifest{}, err
	}
	if found == nil {
		return sdk.Manifest{}, ErrMissing
	}
	return Parse(found)
}

// Append returns the module with the manifest as its last section, in place of
// any that it had. The JSON is checked and compacted.
func Append(module, manifest []byte) ([]byte, error) {
	if _, err := Parse(manifest); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := json.Compact(&text, manifest); err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(module)+text.Len()+32), header...)
	err := sections(module, func(from, to int, name string, _ []byte) {
		if name != sdk.ManifestSection {
			out = append(out, module[from:to]...)
		}
	})
	if err != nil {
		return nil, err
	}
	body := binary.AppendUvarint(nil, uint64(len(sdk.ManifestSection)))
	body = append(append(body, sdk.ManifestSection...), text.Bytes()...)
	out = binary.AppendUvarint(append(out, 0), uint64(len(body)))
	return append(out, body...), nil
}

// Parse reads a manifest's JSON and checks what every host relies on. Unknown
// keys are refused: in a manifest they are misspellings.
func Parse(text []byte) (sdk.Manifest, error) {
	var m sdk.Manifest
	if len(text) > BytesMax {
		return m, fmt.Errorf("the manifest has %d bytes, more than %d", len(text), BytesMax)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("the manifest is not understood: %w", err)
	}
	switch {
	case !validName(m.Name):
		return m, fmt.Errorf("the manifest's name %q must be lower-case letters, digits and dashes", m.Name)
	case m.Version == "":
		return m, errors.New("the manifest has no version")
	case m.ABI != int(sdk.ABI):
		return m, fmt.Errorf("the manifest's abi is %d; this is abi %d", m.ABI, sdk.ABI)
	case m.Kind != "transform" && m.Kind != "sink":
		return m, fmt.Errorf(`the manifest's kind is %q; it must be "transform" or "sink"`, m.Kind)
	}
	return m, nil
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// sections calls f for each section with its bounds in the module and, for
// custom ones, its name and content. Every length is checked against the bytes left.
func sections(module []byte, f func(from, to int, name string, content []byte)) error {
	if !bytes.HasPrefix(module, header) {
		return fmt.Errorf("%w: it does not begin with \\0asm and version 1", ErrModule)
	}
	for at := len(header); at < len(module); {
		size, n := uleb32(module[at+1:])
		body := at + 1 + n
		if n == 0 || uint64(size) > uint64(len(module)-body) {
			return fmt.Errorf("%w: section at byte %d runs past the end", ErrModule, at)
		}
		to := body + int(size)
		var name string
		var content []byte
		if module[at] == 0 {
			length, k := uleb32(module[body:to])
			if k == 0 || uint64(length) > uint64(to-body-k) {
				return fmt.Errorf("%w: custom section at byte %d has no name", ErrModule, at)
			}
			name, content = string(module[body+k:body+k+int(length)]), module[body+k+int(length):to]
		}
		f(at, to, name, content)
		at = to
	}
	return nil
}

// uleb32 reads an unsigned LEB128 number of at most 32 bits; n is the bytes
// read, 0 when there is none.
func uleb32(p []byte) (v uint32, n int) {
	u, n := binary.Uvarint(p[:min(len(p), 5)])
	if n <= 0 || u > 1<<32-1 {
		return 0, 0
	}
	return uint32(u), n
}
