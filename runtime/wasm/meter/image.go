package meter

import "strconv"

// Image is how a module begins, taken out of it, for the host to do in its
// place: write the data segments, call the function that the start section
// named. What there is then, memory and globals, is all that the module has
// been up to: an instance in which they are put back goes on from there. That
// holds only of modules that keep nothing elsewhere, such as in tables.
type Image struct {
	// Segments are the active data segments, in order. Whether they fit into the
	// memory is for the host to check. Their bytes are the original module's.
	Segments []Segment
	// Globals is how many mutable globals the module has: exported as
	// GlobalName(0) and so on.
	Globals int
	// Start says that the function StartFunc is exported, () -> (), to be called
	// once behind the segments.
	Start bool

	indices []uint32 // of the globals
	start   uint32   // rewritten index
}

// Segment is bytes that the module's memory begins with.
type Segment struct {
	Offset uint32
	Bytes  []byte
}

// StartFunc is the export of a split module that its start section named.
const StartFunc = reserved + "start"

// imageGlobalsMax bounds the exports that a split module gains.
const imageGlobalsMax = 1000

// GlobalName returns the export of a split module's i-th mutable global.
func GlobalName(i int) string { return reserved + "global:" + strconv.Itoa(i) }

// RewriteSplit is Rewrite, and takes out of the module how it begins. A module
// that can't be split is rewritten as by Rewrite; its Image is nil, and why says why.
func RewriteSplit(p []byte, l Limits) (metered []byte, image *Image, why string, err error) {
	m := &module{p: p, l: l, results: map[string]uint32{}, image: &Image{}}
	if metered, err = m.rewrite(); err == nil && m.image == nil {
		metered, err = Rewrite(p, l) // parts of it were taken out before
	}
	return metered, m.image, m.why, err
}

// unsplittable gives the image up.
func (m *module) unsplittable(why string) {
	if m.image != nil {
		m.image, m.why = nil, why
	}
}

// keepGlobal files a global that an image must have.
func (m *module) keepGlobal(i uint32, t byte, mutable bool) {
	switch {
	case !mutable || m.image == nil:
	case t < typeF64 || t > typeI32:
		m.unsplittable("it has a global that is a reference or a vector")
	case m.image.Globals == imageGlobalsMax:
		m.unsplittable("it has more than " + strconv.Itoa(imageGlobalsMax) + " mutable globals")
	default:
		m.image.indices = append(m.image.indices, i)
		m.image.Globals++
	}
}

// rewriteData takes the segments out, or leaves the section as it is: also when
// it is malformed, which is for the engine to say.
func (m *module) rewriteData(r *reader) []byte {
	from := r.at
	whole := m.p[from:len(r.p)]
	r.at = len(r.p)
	if m.image == nil {
		return whole
	}
	s := &reader{p: r.p, at: from}
	for n := s.length("data segments"); n > 0 && s.err == nil; n-- {
		if s.u8() != 0 || s.u8() != opI32Const {
			m.unsplittable("it has a data segment that is passive or has a computed address")
			return whole
		}
		offset := s.i32()
		if s.u8() != opEnd {
			m.unsplittable("it has a data segment that has a computed address")
			return whole
		}
		m.image.Segments = append(m.image.Segments, Segment{uint32(offset), s.vector()})
	}
	if s.err != nil || s.more() || m.counted(secMemory) != 1 || m.sections[secCount].to != 0 && m.counted(secCount) != len(m.image.Segments) {
		m.unsplittable("its memory or its data segments are malformed")
		return whole
	}
	return nil
}

// counted returns the number that a section begins with; 0 without it.
func (m *module) counted(id byte) int {
	sec := m.sections[id]
	if sec.to == 0 {
		return 0
	}
	return int((&reader{p: m.p[:sec.to], at: sec.from}).u32())
}

// rewriteStart renumbers the start function, or takes it out.
func (m *module) rewriteStart(r *reader) []byte {
	if !r.more() {
		return nil
	}
	i := r.index("function", len(m.funcs))
	if r.err != nil {
		return nil
	}
	t := m.types[m.funcs[i]]
	if int(i) < m.imported || len(t.params)+len(t.results) > 0 {
		m.unsplittable("its start function is the host's, or takes something")
	}
	if m.image == nil {
		return leb(nil, m.shifted(i))
	}
	m.image.Start, m.image.start = true, m.shifted(i)
	return nil
}

// export is one that the rewriter adds.
type export struct {
	name  string
	kind  byte
	index uint32
}

// imageExports lists what the host needs to make an image and put it back.
func (m *module) imageExports() []export {
	if m.image == nil {
		return nil
	}
	var list []export
	for k, i := range m.image.indices {
		list = append(list, export{GlobalName(k), 3, i})
	}
	if m.image.Start {
		list = append(list, export{StartFunc, 0, m.image.start})
	}
	return list
}

// i32 reads a signed LEB128 number of 32 bits.
func (r *reader) i32() int32 {
	v, shift := int64(0), 0
	for range 5 {
		b := r.u8()
		v |= int64(b&0x7f) << shift
		shift += 7
		if b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << shift
			}
			if v < -1<<31 || v > 1<<31-1 {
				r.refuse("not a number of 32 bits")
			}
			return int32(v)
		}
	}
	r.refuse("a number of more than 5 bytes")
	return 0
}
