
/*
 * opay_json: strict JSON in, checked against a table.
 *
 * DESIGN
 *
 * jansson parses; what it lets through is refused here: nesting that would
 * make it recurse, a top level that is no object.  The tree belongs to the
 * arena and lives as long as it; strings that opay_json_unpack() hands out
 * point into the tree.  One thread at a time, as for the arena.
 */

#ifndef OPAY_JSON_H_INCLUDED
#define OPAY_JSON_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"


#define OPAY_JSON_DEPTH  32

/*
 * Decodes bytes into an object.  Refused: nesting over OPAY_JSON_DEPTH,
 * duplicate members, NUL (raw or escaped), invalid UTF-8, lone surrogates,
 * a byte order mark, bytes after the object, integers beyond int64, any other
 * top level.
 *
 * The result belongs to the arena: the caller must not json_decref() it.
 * NULL: refused, *error names the position and kind of the fault and never
 * the content; it lives in the arena or for ever.
 */
json_t *opay_json_decode(opay_arena_t *a, opay_str_t s, const char **error);


/* What a member is, and what it is unpacked to. */
typedef enum {
    OPAY_JSON_STRING = 0,              /* opay_str_t, NUL-terminated too */
    OPAY_JSON_INT,                     /* int64_t; a real is a type error */
    OPAY_JSON_BOOL,                    /* int */
    OPAY_JSON_UUID,                    /* opay_uuid_t */
    OPAY_JSON_TIME,                    /* int64_t, ms; RFC 3339 text */
    OPAY_JSON_ENUM,                    /* int, index into names */
    OPAY_JSON_OBJECT,                  /* json_t * */
    OPAY_JSON_ARRAY                    /* json_t * */
} opay_json_type_e;


#define OPAY_JSON_REQUIRED   0x01      /* must be there */
#define OPAY_JSON_NULLABLE   0x02      /* null is as good as absent */
#define OPAY_JSON_MULTILINE  0x04      /* \t, \r and \n are allowed */
#define OPAY_JSON_DIGITS     0x08      /* may look like a card number: ids */


/*
 * A member of an object.  Use designated initializers.
 *
 * min, max   STRING: code points; INT: value; ARRAY: elements.  max == 0
 *            means "no upper bound"; min always holds, so that an INT of
 *            which nothing is said is not negative.
 * offset     where in the struct it goes: offsetof(cmd_t, name)
 * present    OPAY_JSON_PRESENT(cmd_t, has_name), an unsigned that becomes 1
 *            when a value was there and 0 when it was absent or null;
 *            leave it out when nobody asks
 */
typedef struct {
    const char          *name;         /* NULL ends the table */
    opay_json_type_e     type;
    unsigned             flags;
    int64_t              min;
    int64_t              max;
    size_t               offset;
    size_t               present;
    const char * const  *names;        /* ENUM: NULL ends the list */
} opay_json_field_t;

#define OPAY_JSON_PRESENT(type, member)  (offsetof(type, member) + 1)


/*
 * Checks obj against the table and fills the struct at out.  Every fault is
 * put on the call with opay_call_invalid(), so that one answer names all:
 *
 *   type required unknown null range length control format enum card_number
 *
 * prefix is the RFC 6901 pointer of obj: "" for the body, "/items/3" for an
 * element.  obj may be any value; anything but an object is a type error.
 *
 * Absent or null members: string and json_t * become NULL, ENUM becomes -1,
 * the rest 0.  Strings with control characters are refused, and strings with
 * a card number in them unless OPAY_JSON_DIGITS says that is fine.
 *
 * OPAY_OK, or OPAY_ERROR with the outcome of the call set.
 */
int opay_json_unpack(opay_call_t *call, json_t *obj, const char *prefix,
    const opay_json_field_t *fields, void *out);

/* "<prefix>/<i>" in the arena; "" when out of memory. */
const char *opay_json_pointer(opay_arena_t *a, const char *prefix, size_t i);

/* OPAY_OK and the number of code points when s is valid UTF-8. */
int opay_utf8_length(opay_str_t s, size_t *n);

/*
 * Length (1..4) of the well-formed UTF-8 sequence at p, 0 when there is none:
 * no overlong form, no surrogate, nothing above U+10FFFF.
 */
size_t opay_utf8_next(const char *p, const char *end);

/*
 * Does the text hold 13 to 19 digits, single spaces or hyphens between groups
 * of them allowed, that could be a card number: by its first digits for that
 * length, and by its check digit (Luhn)?
 */
int opay_pan_like(opay_str_t s);


#endif /* OPAY_JSON_H_INCLUDED */
