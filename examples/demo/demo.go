package demo

import (
	"embed"
	"io/fs"
)

//go:embed mysql/binlog.* mariadb/binlog.*
var files embed.FS

// Files returns the recordings: mysql/binlog.000001, mariadb/binlog.000001 and
// so on.
func Files() fs.FS { return files }

// How many changed rows the recordings hold, for those who pace their replay.
const (
	RowsMySQL   = 3243
	RowsMariaDB = 2820
)
