package meter

// Limits bound what the bodies of a module's functions may ask of a compiler.
// Nesting and Targets have to be wide for Go, which compiles a function to a
// loop around one block for each place that is jumped to, and one br_table over
// them all: up to 550 and 965 in the shipped connectors, 1,077 and 1,643 in a
// program with net/http and go/types.
type Limits struct {
	BodyBytes   int // of one function
	Locals      int // of one function, parameters not counted
	LocalsTotal int // of all functions, parameters counted
	Nesting     int // blocks in one another
	Targets     int // of one br_table
	Elements    int // of all element segments together
	// Work bounds what a function takes to compile, and WorkTotal what all do.
	// A compiler keeps, for every place where control flows meet, what each local
	// is worth there: a file of 25 KB took it 45 s and 2.3 GB. A unit is one
	// local, or one more, at one place: wazero takes below 5 µs for it and, of
	// most code, a hundredth of that. Go's functions need one for each byte of
	// code, 77,539 at most in that program.
	Work      int
	WorkTotal int
}

// workFloor is what a place costs whatever the locals.
const workFloor = 4

// work returns what the function that was scanned takes to compile.
func (s *scanner) work() int {
	return (len(s.segs) + s.targets) * (s.locals + s.results + workFloor)
}
