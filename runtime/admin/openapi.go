package admin

import _ "embed" // for the document

// openAPI describes the routes; a test compares it with them.
//
//go:embed openapi.json
var openAPI []byte
