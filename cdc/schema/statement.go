package schema

import "github.com/cdcd-io/cdcd/cdc/mysql/tables"

// Mode is what of the session's sql_mode changes the meaning of definitions.
type Mode struct {
	ANSIQuotes         bool // "x" is a name
	NoBackslashEscapes bool
	RealAsFloat        bool
	Foreign            bool // ORACLE or MAXDB of MariaDB: types have other meanings
}

// The bits of sql_mode as events carry them. Sources: Query_event::Q_SQL_MODE_CODE,
// sql/system_variables.h (MySQL), sql/sql_class.h (MariaDB).
const (
	modeRealAsFloat = 1 << 0
	modeANSIQuotes  = 1 << 2
	modeOracle      = 1 << 9
	modeMaxDB       = 1 << 12
	modeNoBackslash = 1 << 20
)

// ModeOf reads the bits of sql_mode.
func ModeOf(bits uint64, maria bool) Mode {
	return Mode{
		ANSIQuotes:         bits&modeANSIQuotes != 0,
		NoBackslashEscapes: bits&modeNoBackslash != 0,
		RealAsFloat:        bits&modeRealAsFloat != 0,
		Foreign:            maria && bits&(modeOracle|modeMaxDB) != 0,
	}
}

// Query is a statement as the log has it.
type Query struct {
	SQL   string // in UTF-8
	DB    string // the default database
	Maria bool   // of MariaDB's dialect
	Mode  Mode
	// ServerCharset is the character set of collation_server, which databases
	// have without one of their own; "" not known.
	ServerCharset string
	// Done says that the statement is known to have changed something, so that IF
	// NOT EXISTS met nothing: MySQL marks such statements (DDL_LOGGED_WITH_XID),
	// and MariaDB does not log CREATE TABLE when the table is there.
	Done bool
}

// Class is how a statement was read.
type Class uint8

// The classes of statement.
const (
	Uncertain  Class = iota // touches tables, and was not understood
	Understood              // was applied
	Benign                  // changes no columns, keys or names
)

// String returns the class's name.
func (c Class) String() string { return [...]string{"uncertain", "understood", "benign"}[c] }

type verb uint8

const (
	verbNone verb = iota
	verbCreate
	verbLike
	verbAlter
	verbRename
	verbDrop
	verbCreateDB
	verbAlterDB
	verbDropDB
)

// statement is one that was understood.
type statement struct {
	verb        verb
	name        tables.Name // its DB alone for a database
	to          tables.Name // of LIKE: the model; of ALTER: the new name, if any
	names       []tables.Name
	pairs       [][2]tables.Name // of RENAME
	ifNotExists bool
	replace     bool
	charset     choice
	table       *definition
	ops         []op
}

// choice is a character set as a statement chooses it.
type choice struct {
	set     bool
	name    string // "" with def
	def     bool   // DEFAULT: the next larger thing's
	collate bool   // chosen by a collation that does not say which
}

// definition is the body of CREATE TABLE: names are resolved when it is applied.
type definition struct {
	columns []columnDef
	keys    []Key
}

// columnDef is a column's definition before its character set is known.
type columnDef struct {
	name    string
	typ     typeDef
	charset choice
	notNull bool
	null    bool
	auto    bool
	derived bool // GENERATED
	hidden  bool // INVISIBLE
	spoiled bool // its labels can't be told
	keys    []Key
}

type opKind uint8

const (
	opAdd opKind = iota
	opChange
	opDrop
	opRenameColumn
	opAddKey
	opDropKey
	opDropConstraint
	opRenameKey
	opDefaultCharset
	opConvert
	opHide // SET VISIBLE or INVISIBLE
)

// op is one clause of ALTER TABLE.
type op struct {
	kind    opKind
	name    string // the column or key
	to      string // its new name
	column  columnDef
	key     Key
	charset choice
	placed  bool   // FIRST or AFTER was said
	after   string // "" for FIRST
	exists  bool   // IF EXISTS, or IF NOT EXISTS
	primary bool   // of opDropKey
}
