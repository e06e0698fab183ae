package config

import (
	"encoding/json"
	"reflect"

	"github.com/cdcd-io/cdcd/internal/unit"
)

// Schema returns the JSON Schema of a configuration file with the given kinds,
// for editors that check and complete YAML by it.
func Schema(o Options) []byte {
	name := object{"type": "string", "pattern": nameForm.String()}
	step := structSchema(reflect.TypeFor[stepKeys](), reflect.ValueOf(stepKeys{OnError: OnErrorHalt}), "wasm")
	step["properties"].(object)["on_error"].(object)["enum"] = []OnError{OnErrorHalt, OnErrorDeadLetter, OnErrorSkip}
	pipeline := object{
		"type": "object", "additionalProperties": false, "required": []string{"source", "sink"},
		"properties": object{
			"source": kindSchema(o.Sources), "sink": kindSchema(o.Sinks),
			"steps": object{"type": "array", "items": step},
		},
	}
	embedded := structSchema(reflect.TypeFor[Embedded](), reflect.ValueOf(*defaultEmbedded()))
	nats := structSchema(reflect.TypeFor[natsKeys](), reflect.ValueOf(natsKeys{}))
	nats["properties"].(object)["embedded"] = embedded
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cdcd configuration",
		"type": "object", "additionalProperties": false, "required": []string{"version", "pipelines"},
		"properties": object{
			"version":   object{"const": 1},
			"pipelines": object{"type": "object", "minProperties": 1, "propertyNames": name, "additionalProperties": pipeline},
			"tests": object{"type": "array", "items": object{
				"type": "object", "additionalProperties": false, "required": []string{"name", "pipeline", "given"},
				"properties": object{
					"name": object{"type": "string"}, "pipeline": name,
					"given":  object{"type": "array", "items": structSchema(reflect.TypeFor[TestRow](), reflect.ValueOf(TestRow{}))},
					"expect": object{"type": "array", "items": structSchema(reflect.TypeFor[TestMessage](), reflect.ValueOf(TestMessage{}))},
				},
			}},
			"server": structSchema(reflect.TypeFor[Server](), reflect.ValueOf(Server{Listen: DefaultListen})),
			"state":  structSchema(reflect.TypeFor[State](), reflect.ValueOf(State{Dir: DefaultStateDir})),
			"nats":   object{"anyOf": []object{{"const": "embedded"}, nats}},
		},
	}
	text, _ := json.MarshalIndent(schema, "", "  ") // maps of plain values always marshal
	return append(text, '\n')
}

type object map[string]any

// kindSchema is an object with exactly one of the kinds as its key, or the name
// of a kind that needs no keys.
func kindSchema(kinds []Kind) object {
	properties := object{}
	var names []string
	for _, k := range kinds {
		v := reflect.ValueOf(k.NewConfig()).Elem()
		properties[k.Name] = orEmpty(structSchema(v.Type(), v))
		names = append(names, k.Name)
	}
	return object{"anyOf": []object{
		{"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": properties},
		{"enum": names},
	}}
}

// orEmpty lets a key be written without a value, which keeps its defaults.
func orEmpty(o object) object { return object{"anyOf": []object{o, {"type": "null"}}} }

func structSchema(t reflect.Type, defaults reflect.Value, required ...string) object {
	properties := object{}
	for _, f := range fieldsOf(t) {
		properties[f.key] = fieldSchema(f, defaults.FieldByIndex(f.index))
	}
	o := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func fieldSchema(f field, value reflect.Value) object {
	o := typeSchema(f.typ, value)
	if f.doc != "" {
		o["description"] = f.doc
	}
	if value.IsValid() && !value.IsZero() && value.CanInterface() && f.typ != rawType {
		switch f.typ.Kind() {
		case reflect.Struct, reflect.Map, reflect.Pointer:
		default:
			o["default"] = value.Interface()
		}
	}
	return o
}

func typeSchema(t reflect.Type, value reflect.Value) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeSchema(t.Elem(), reflect.Zero(t.Elem()))
	case t == rawType:
		return object{"type": "object"}
	case t == reflect.TypeFor[unit.Count]():
		return object{"type": []string{"string", "integer"}}
	case reflect.PointerTo(t).Implements(textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, value)
	case reflect.Slice:
		return object{"type": "array", "items": typeSchema(t.Elem(), reflect.Zero(t.Elem()))}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": typeSchema(t.Elem(), reflect.Zero(t.Elem()))}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	}
	return object{"type": []string{"integer", "string"}, "pattern": `^(\$\{.*\}|[0-9]+)$`}
}
