package maxwell

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
)

// geometryDepthMax bounds collections within collections.
const geometryDepthMax = 64

// appendGeometry appends a geometry as well-known text, without its SRID. Bytes
// that are no well-known binary in two dimensions, which no server gives but a
// connector may, are written in base 64.
func appendGeometry(dst, v []byte) []byte {
	start := len(dst)
	if len(v) >= 4 {
		w := wkb{v: v[4:]}
		dst = w.geometry(append(dst, '"'), true, 0)
		if !w.bad && len(w.v) == 0 {
			return append(dst, '"')
		}
	}
	return jsontext.AppendBase64(dst[:start], v)
}

// wkb reads well-known binary.
type wkb struct {
	v   []byte
	big bool // most significant byte first
	bad bool
}

func (w *wkb) take(n int) []byte {
	if w.bad || n > len(w.v) {
		w.bad = true
		return nil
	}
	v := w.v[:n]
	w.v = w.v[n:]
	return v
}

func (w *wkb) u32() uint32 {
	switch v := w.take(4); {
	case v == nil:
		return 0
	case w.big:
		return binary.BigEndian.Uint32(v)
	default:
		return binary.LittleEndian.Uint32(v)
	}
}

func (w *wkb) f64() float64 {
	switch v := w.take(8); {
	case v == nil:
		return 0
	case w.big:
		return math.Float64frombits(binary.BigEndian.Uint64(v))
	default:
		return math.Float64frombits(binary.LittleEndian.Uint64(v))
	}
}

// geometry appends one geometry, with its name unless it is within a MULTI….
func (w *wkb) geometry(dst []byte, named bool, depth int) []byte {
	order := w.take(1)
	if order == nil || order[0] > 1 || depth > geometryDepthMax {
		w.bad = true
		return dst
	}
	w.big = order[0] == 0
	kind := w.u32()
	names := [...]string{1: "POINT ", "LINESTRING ", "POLYGON ", "MULTIPOINT ", "MULTILINESTRING ", "MULTIPOLYGON ", "GEOMETRYCOLLECTION "}
	if kind == 0 || int(kind) >= len(names) {
		w.bad = true
		return dst
	}
	if named {
		dst = append(dst, names[kind]...)
	}
	switch kind {
	case 1:
		return append(w.coordinates(append(dst, '(')), ')')
	case 2:
		return w.list(dst, 16, w.coordinates)
	case 3:
		return w.list(dst, 4, func(dst []byte) []byte { return w.list(dst, 16, w.coordinates) })
	}
	return w.list(dst, 5, func(dst []byte) []byte { return w.geometry(dst, kind == 7, depth+1) })
}

// list appends a list whose elements take at least each bytes.
func (w *wkb) list(dst []byte, each int, element func([]byte) []byte) []byte {
	n := w.u32()
	if uint64(n)*uint64(each) > uint64(len(w.v)) {
		w.bad = true
	}
	if n == 0 || w.bad {
		return append(dst, "EMPTY"...)
	}
	for i := range n {
		if i == 0 {
			dst = append(dst, '(')
		} else {
			dst = append(dst, ',', ' ')
		}
		if dst = element(dst); w.bad {
			return dst
		}
	}
	return append(dst, ')')
}

func (w *wkb) coordinates(dst []byte) []byte {
	x, y := w.f64(), w.f64()
	if math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
		w.bad = true
	}
	dst = strconv.AppendFloat(dst, x, 'f', -1, 64)
	return strconv.AppendFloat(append(dst, ' '), y, 'f', -1, 64)
}
