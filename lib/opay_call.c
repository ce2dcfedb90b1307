
/* The outcome of a call; see opay_call.h. */

#include "opay_call.h"
#include "opay_jsonw.h"
#include "opay_path.h"
#include "opay_trace.h"


#define OPAY_CALL_PROBLEM  "application/problem+json"


void
opay_call_reply(opay_call_t *call, int status, opay_str_t body)
{
    call->status = status;
    call->code = OPAY_E_NONE;
    call->detail = NULL;
    call->nerrors = 0;
    call->reply = body;
}


void
opay_call_fail(opay_call_t *call, opay_code_e code, const char *detail)
{
    opay_str_t  none = opay_str_null;

    call->status = opay_code_info(code)->status;
    call->code = code;
    call->detail = detail;
    call->reply = none;
}


void
opay_call_invalid(opay_call_t *call, const char *pointer, const char *code,
    const char *detail)
{
    char                *copy;
    opay_field_error_t  *e;

    opay_call_fail(call, OPAY_E_VALIDATION_FAILED,
                   "The request is not valid; errors says what to change.");

    if (call->nerrors == OPAY_CALL_ERRORS) {
        return;
    }

    e = &call->errors[call->nerrors++];

    copy = opay_arena_strdup(call->arena, pointer);
    e->pointer = copy ? copy : "";

    copy = opay_arena_strdup(call->arena, detail);
    e->detail = copy ? copy : "";

    e->code = code;
}


void
opay_call_reset(opay_call_t *call)
{
    opay_str_t  none = opay_str_null;

    call->status = 0;
    call->code = OPAY_E_NONE;
    call->detail = NULL;
    call->nerrors = 0;
    call->reply = none;
    call->location = none;
    call->etag = none;
    call->content_type = none;
    call->problem_extra = none;
    call->retry_after = 0;
    call->replayed = 0;
    call->no_store = 0;
    call->wrote = 0;
}


static void
opay_call_render_errors(opay_call_t *call, opay_jw_t *w)
{
    unsigned  i;

    opay_jw_key(w, "errors");
    opay_jw_arr(w);

    for (i = 0; i < call->nerrors; i++) {
        opay_jw_obj(w);
        opay_jw_kcstr(w, "pointer", call->errors[i].pointer);
        opay_jw_kcstr(w, "code", call->errors[i].code);
        opay_jw_kcstr(w, "detail", call->errors[i].detail);
        opay_jw_obj_end(w);
    }

    opay_jw_arr_end(w);
}


/*
 * status is the call's, not the table's: nginx has statuses that share a
 * code, as 408 and 414 do with 400.
 */

int
opay_call_render_problem(opay_call_t *call)
{
    opay_jw_t                w;
    opay_str_t               trace, body, type, name;
    const opay_code_info_t  *info;

    if (call->reply.data || call->code == OPAY_E_NONE) {
        return OPAY_OK;
    }

    info = opay_code_info(call->code);

    name = opay_str_of(info->code);
    type = opay_arena_printf(call->arena, "urn:opay:problem:%s", info->code);

    opay_jw_init(&w, call->arena, 384 + call->problem_extra.len);
    opay_jw_obj(&w);
    opay_jw_kstr(&w, "type", type);
    opay_jw_kcstr(&w, "title", info->title);
    opay_jw_ki64(&w, "status", call->status);

    if (call->detail) {
        opay_jw_kcstr(&w, "detail", call->detail);
    }

    if (call->path.len) {
        opay_jw_kstr(&w, "instance", call->path);
    }

    opay_jw_kstr(&w, "code", name);

    trace = opay_trace_id(call->traceparent);

    if (trace.len) {
        opay_jw_kstr(&w, "traceId", trace);
    }

    if (call->nerrors) {
        opay_call_render_errors(call, &w);
    }

    if (call->problem_extra.len) {
        opay_jw_raw(&w, call->problem_extra);
    }

    opay_jw_obj_end(&w);

    body = opay_jw_result(&w);

    if (body.data == NULL || type.data == NULL) {
        return OPAY_ERROR;
    }

    call->reply = body;
    call->content_type = opay_str_of(OPAY_CALL_PROBLEM);

    return OPAY_OK;
}


/* A value that cannot be decoded is a fault of the request, not an absence. */

opay_str_t
opay_call_arg(opay_call_t *call, const char *name)
{
    opay_str_t  value, pointer, none = opay_str_null;

    if (opay_query_arg(call->arena, call->query, name, &value) == OPAY_OK) {
        return value;
    }

    pointer = opay_arena_printf(call->arena, "/%s", name);

    opay_call_invalid(call, pointer.data ? pointer.data : "", "format",
                      "must be percent-encoded UTF-8 text without NUL");

    return none;
}


void
opay_call_etag(opay_call_t *call, int64_t version)
{
    call->etag = opay_arena_printf(call->arena, "\"%lld\"",
                                   (long long) version);
}
