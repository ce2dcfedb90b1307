
/* Tables of members: see opay_json.h. */

#include <stdio.h>

#include "opay_json.h"


#define OPAY_JSON_KEY_MAX  64


static const char  *opay_json_type_names[] = {
    [OPAY_JSON_STRING] = "must be a string",
    [OPAY_JSON_INT] = "must be an integer",
    [OPAY_JSON_BOOL] = "must be true or false",
    [OPAY_JSON_UUID] = "must be a UUID string",
    [OPAY_JSON_TIME] = "must be an RFC 3339 time string",
    [OPAY_JSON_ENUM] = "must be a string",
    [OPAY_JSON_OBJECT] = "must be an object",
    [OPAY_JSON_ARRAY] = "must be an array"
};


const char *
opay_json_pointer(opay_arena_t *a, const char *prefix, size_t i)
{
    opay_str_t  s;

    s = opay_arena_printf(a, "%s/%zu", prefix, i);

    return s.data ? s.data : "";
}


static int
opay_json_invalid(opay_call_t *call, const char *prefix, const char *name,
    const char *code, const char *detail)
{
    opay_str_t  s;

    s = opay_arena_printf(call->arena, "%s/%s", prefix, name);

    opay_call_invalid(call, s.data ? s.data : "", code, detail);

    return OPAY_ERROR;
}


/* "must be from 1 to 9999"; what: "" or " characters" or " elements" */

static int
opay_json_bounds(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, const char *code, const char *what)
{
    char        detail[96];
    long long   min, max;

    min = (long long) f->min;
    max = (long long) f->max;

    if (max == 0) {
        (void) snprintf(detail, sizeof(detail),
                        "must be at least %lld%s", min, what);

    } else {
        (void) snprintf(detail, sizeof(detail),
                        "must be from %lld to %lld%s", min, max, what);
    }

    return opay_json_invalid(call, prefix, f->name, code, detail);
}


/* OPAY_ERROR: a control character, C0, DEL or C1. */

static int
opay_json_text(opay_str_t s, unsigned flags, int64_t *length)
{
    size_t         i;
    unsigned char  c, next;

    *length = 0;

    for (i = 0; i < s.len; i++) {

        c = (unsigned char) s.data[i];

        if ((c & 0xc0) != 0x80) {
            (*length)++;
        }

        if (c >= 0x20 && c != 0x7f && c != 0xc2) {
            continue;
        }

        if (c == 0xc2) {

            /* jansson lets no truncated sequence through */

            next = (unsigned char) s.data[i + 1];

            if (next > 0x9f) {
                continue;
            }

            return OPAY_ERROR;
        }

        if ((flags & OPAY_JSON_MULTILINE)
            && (c == '\n' || c == '\r' || c == '\t'))
        {
            continue;
        }

        return OPAY_ERROR;
    }

    return OPAY_OK;
}


static int
opay_json_string(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, opay_str_t s, char *out)
{
    int64_t  length;

    if (opay_json_text(s, f->flags, &length) != OPAY_OK) {
        return opay_json_invalid(call, prefix, f->name, "control",
                                 "must not contain control characters");
    }

    if (length < f->min || (f->max && length > f->max)) {
        return opay_json_bounds(call, prefix, f, "length", " characters");
    }

    if (!(f->flags & OPAY_JSON_DIGITS) && opay_pan_like(s)) {
        return opay_json_invalid(call, prefix, f->name, "card_number",
                                 "must not contain a card number");
    }

    memcpy(out, &s, sizeof(opay_str_t));

    return OPAY_OK;
}


static int
opay_json_enum(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, opay_str_t s, char *out)
{
    int         i;
    size_t      n;
    char        detail[256];
    opay_str_t  name;

    for (i = 0; f->names[i]; i++) {

        name = opay_str_of(f->names[i]);

        if (opay_str_eq(s, name)) {
            memcpy(out, &i, sizeof(int));
            return OPAY_OK;
        }
    }

    n = (size_t) snprintf(detail, sizeof(detail), "must be one of");

    for (i = 0; f->names[i] && n < sizeof(detail); i++) {
        n += (size_t) snprintf(detail + n, sizeof(detail) - n, "%s %s",
                               i ? "," : "", f->names[i]);
    }

    return opay_json_invalid(call, prefix, f->name, "enum", detail);
}


/* The types that are strings in JSON. */

static int
opay_json_textual(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, json_t *v, char *out)
{
    int64_t      ms;
    opay_str_t   s;
    opay_uuid_t  u;

    s.data = json_string_value(v);
    s.len = json_string_length(v);

    switch (f->type) {

    case OPAY_JSON_UUID:

        if (opay_uuid_parse(s, &u) != OPAY_OK) {
            return opay_json_invalid(call, prefix, f->name, "format",
                                     "must be a UUID");
        }

        memcpy(out, &u, sizeof(opay_uuid_t));
        return OPAY_OK;

    case OPAY_JSON_TIME:

        if (opay_time_parse(s, &ms) != OPAY_OK) {
            return opay_json_invalid(call, prefix, f->name, "format",
                                     "must be an RFC 3339 time");
        }

        memcpy(out, &ms, sizeof(int64_t));
        return OPAY_OK;

    case OPAY_JSON_ENUM:
        return opay_json_enum(call, prefix, f, s, out);

    default:
        return opay_json_string(call, prefix, f, s, out);
    }
}


static int
opay_json_int(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, json_t *v, char *out)
{
    int64_t  i;

    i = json_integer_value(v);

    if (i < f->min || (f->max && i > f->max)) {
        return opay_json_bounds(call, prefix, f, "range", "");
    }

    memcpy(out, &i, sizeof(int64_t));

    return OPAY_OK;
}


static int
opay_json_array(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, json_t *v, char *out)
{
    int64_t  n;

    n = (int64_t) json_array_size(v);

    if (n < f->min || (f->max && n > f->max)) {
        return opay_json_bounds(call, prefix, f, "length", " elements");
    }

    memcpy(out, &v, sizeof(v));

    return OPAY_OK;
}


static int
opay_json_is(const opay_json_field_t *f, json_t *v)
{
    switch (f->type) {

    case OPAY_JSON_INT:
        return json_is_integer(v);

    case OPAY_JSON_BOOL:
        return json_is_boolean(v);

    case OPAY_JSON_OBJECT:
        return json_is_object(v);

    case OPAY_JSON_ARRAY:
        return json_is_array(v);

    default:
        return json_is_string(v);
    }
}


static int
opay_json_member(opay_call_t *call, const char *prefix,
    const opay_json_field_t *f, json_t *v, char *out)
{
    int  b;

    if (!opay_json_is(f, v)) {
        return opay_json_invalid(call, prefix, f->name,
                                 json_is_null(v) ? "null" : "type",
                                 opay_json_type_names[f->type]);
    }

    switch (f->type) {

    case OPAY_JSON_INT:
        return opay_json_int(call, prefix, f, v, out);

    case OPAY_JSON_BOOL:
        b = json_is_true(v);
        memcpy(out, &b, sizeof(int));
        return OPAY_OK;

    case OPAY_JSON_OBJECT:
        memcpy(out, &v, sizeof(v));
        return OPAY_OK;

    case OPAY_JSON_ARRAY:
        return opay_json_array(call, prefix, f, v, out);

    default:
        return opay_json_textual(call, prefix, f, v, out);
    }
}


static void
opay_json_clear(const opay_json_field_t *f, char *base)
{
    int       minus;
    unsigned  absent;

    static const size_t  sizes[] = {
        [OPAY_JSON_STRING] = sizeof(opay_str_t),
        [OPAY_JSON_INT] = sizeof(int64_t),
        [OPAY_JSON_BOOL] = sizeof(int),
        [OPAY_JSON_UUID] = sizeof(opay_uuid_t),
        [OPAY_JSON_TIME] = sizeof(int64_t),
        [OPAY_JSON_ENUM] = sizeof(int),
        [OPAY_JSON_OBJECT] = sizeof(json_t *),
        [OPAY_JSON_ARRAY] = sizeof(json_t *)
    };

    memset(base + f->offset, 0, sizes[f->type]);

    if (f->type == OPAY_JSON_ENUM) {
        minus = -1;
        memcpy(base + f->offset, &minus, sizeof(int));
    }

    if (f->present) {
        absent = 0;
        memcpy(base + f->present - 1, &absent, sizeof(unsigned));
    }
}


/* A name of the client's, as RFC 6901 has it. */

static void
opay_json_unknown(opay_call_t *call, const char *prefix, const char *key)
{
    char  buf[2 * OPAY_JSON_KEY_MAX + 1], *p;

    if (strlen(key) > OPAY_JSON_KEY_MAX) {
        opay_call_invalid(call, prefix, "unknown",
                          "has a member that is not known here");
        return;
    }

    for (p = buf; *key; key++) {

        if (*key == '~' || *key == '/') {
            *p++ = '~';
            *p++ = *key == '~' ? '0' : '1';

        } else {
            *p++ = *key;
        }
    }

    *p = '\0';

    (void) opay_json_invalid(call, prefix, buf, "unknown",
                             "is not known here");
}


static void
opay_json_strangers(opay_call_t *call, json_t *obj, const char *prefix,
    const opay_json_field_t *fields)
{
    json_t                   *v;
    const char               *key;
    const opay_json_field_t  *f;

    json_object_foreach(obj, key, v) {

        for (f = fields; f->name; f++) {
            if (strcmp(key, f->name) == 0) {
                break;
            }
        }

        if (f->name == NULL) {
            opay_json_unknown(call, prefix, key);
        }
    }
}


int
opay_json_unpack(opay_call_t *call, json_t *obj, const char *prefix,
    const opay_json_field_t *fields, void *out)
{
    int                       rc;
    char                     *base;
    size_t                    known;
    json_t                   *v;
    unsigned                  present;
    const opay_json_field_t  *f;

    base = out;

    for (f = fields; f->name; f++) {
        opay_json_clear(f, base);
    }

    if (!json_is_object(obj)) {
        opay_call_invalid(call, prefix, "type", "must be an object");
        return OPAY_ERROR;
    }

    rc = OPAY_OK;
    known = 0;
    present = 1;

    for (f = fields; f->name; f++) {

        v = json_object_get(obj, f->name);

        if (v == NULL) {

            if (f->flags & OPAY_JSON_REQUIRED) {
                rc = opay_json_invalid(call, prefix, f->name, "required",
                                       "is missing");
            }

            continue;
        }

        known++;

        if (json_is_null(v) && (f->flags & OPAY_JSON_NULLABLE)) {
            continue;
        }

        if (opay_json_member(call, prefix, f, v, base + f->offset)
            != OPAY_OK)
        {
            rc = OPAY_ERROR;

        } else if (f->present) {
            memcpy(base + f->present - 1, &present, sizeof(unsigned));
        }
    }

    if (known != json_object_size(obj)) {
        opay_json_strangers(call, obj, prefix, fields);
        rc = OPAY_ERROR;
    }

    return rc;
}
