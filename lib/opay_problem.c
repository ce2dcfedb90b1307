
/* The problem codes of the public contract; see opay_call.h. */

#include "opay_call.h"


static const opay_code_info_t  opay_codes[OPAY_E_MAX] = {
    [OPAY_E_NONE] = { 500, "internal_error", "Internal error" },

    [OPAY_E_VALIDATION_FAILED] =
        { 400, "validation_failed", "The request is not valid" },
    [OPAY_E_MALFORMED_JSON] =
        { 400, "malformed_json", "The body is not acceptable JSON" },
    [OPAY_E_IDEMPOTENCY_KEY_MISSING] =
        { 400, "idempotency_key_missing", "Idempotency-Key is missing" },
    [OPAY_E_BAD_REQUEST] =
        { 400, "bad_request", "The request cannot be understood" },

    [OPAY_E_UNAUTHENTICATED] =
        { 401, "unauthenticated", "An access token is needed" },
    [OPAY_E_INVALID_CREDENTIALS] =
        { 401, "invalid_credentials", "Email or password is wrong" },
    [OPAY_E_INVALID_TOKEN] =
        { 401, "invalid_token", "The access token is not valid" },
    [OPAY_E_REFRESH_TOKEN_INVALID] =
        { 401, "refresh_token_invalid", "The refresh token is not valid" },

    [OPAY_E_PAYMENT_DECLINED] =
        { 402, "payment_declined", "The payment was declined" },

    [OPAY_E_FORBIDDEN] =
        { 403, "forbidden", "This is not allowed" },

    [OPAY_E_NOT_FOUND] =
        { 404, "not_found", "There is no such resource" },

    [OPAY_E_METHOD_NOT_ALLOWED] =
        { 405, "method_not_allowed", "The method is not allowed here" },

    [OPAY_E_EMAIL_TAKEN] =
        { 409, "email_taken", "The email address is in use" },
    [OPAY_E_ORDER_NOT_EDITABLE] =
        { 409, "order_not_editable", "The order cannot be changed now" },
    [OPAY_E_ORDER_NOT_CANCELLABLE] =
        { 409, "order_not_cancellable", "The order cannot be cancelled now" },
    [OPAY_E_ORDER_NOT_PAYABLE] =
        { 409, "order_not_payable", "The order cannot be paid now" },
    [OPAY_E_PAYMENT_IN_PROGRESS] =
        { 409, "payment_in_progress", "A payment is already under way" },
    [OPAY_E_ILLEGAL_TRANSITION] =
        { 409, "illegal_transition", "The status cannot change this way" },
    [OPAY_E_IDEMPOTENCY_IN_PROGRESS] =
        { 409, "idempotency_in_progress",
          "The first request with this key is still under way" },
    [OPAY_E_ORDER_NOT_YET_KNOWN] =
        { 409, "order_not_yet_known", "The order is not known here yet" },

    [OPAY_E_VERSION_MISMATCH] =
        { 412, "version_mismatch", "The resource has changed since" },

    [OPAY_E_PAYLOAD_TOO_LARGE] =
        { 413, "payload_too_large", "The body is too large" },

    [OPAY_E_UNSUPPORTED_MEDIA_TYPE] =
        { 415, "unsupported_media_type", "The body must be JSON" },

    [OPAY_E_IDEMPOTENCY_KEY_REUSED] =
        { 422, "idempotency_key_reused",
          "The key belongs to a different request" },

    [OPAY_E_PRECONDITION_REQUIRED] =
        { 428, "precondition_required", "If-Match is missing" },

    [OPAY_E_RATE_LIMITED] =
        { 429, "rate_limited", "Too many requests" },

    [OPAY_E_INTERNAL_ERROR] =
        { 500, "internal_error", "Internal error" },

    [OPAY_E_UPSTREAM_UNAVAILABLE] =
        { 502, "upstream_unavailable", "A service behind us is unavailable" },

    [OPAY_E_OVERLOADED] =
        { 503, "overloaded", "Too busy, try again" },
    [OPAY_E_UNAVAILABLE] =
        { 503, "unavailable", "Temporarily unavailable" },

    [OPAY_E_UPSTREAM_TIMEOUT] =
        { 504, "upstream_timeout", "A service behind us took too long" }
};


const opay_code_info_t *
opay_code_info(opay_code_e code)
{
    if ((unsigned) code >= OPAY_E_MAX) {
        code = OPAY_E_INTERNAL_ERROR;
    }

    return &opay_codes[code];
}


/*
 * Statuses that nginx makes by itself and that have no code of their own
 * (408, 411, 414, 416, 421, 431, 494 to 497, 499, and 501 and 505, which it
 * gives for what the client sent) are bad_request; the answer keeps its own
 * status.
 */

opay_code_e
opay_code_of_status(int status)
{
    switch (status) {

    case 401:
        return OPAY_E_UNAUTHENTICATED;

    case 402:
        return OPAY_E_PAYMENT_DECLINED;

    case 403:
        return OPAY_E_FORBIDDEN;

    case 404:
    case 410:
        return OPAY_E_NOT_FOUND;

    case 405:
        return OPAY_E_METHOD_NOT_ALLOWED;

    case 412:
        return OPAY_E_VERSION_MISMATCH;

    case 413:
        return OPAY_E_PAYLOAD_TOO_LARGE;

    case 415:
        return OPAY_E_UNSUPPORTED_MEDIA_TYPE;

    case 428:
        return OPAY_E_PRECONDITION_REQUIRED;

    case 429:
        return OPAY_E_RATE_LIMITED;

    case 501:
    case 505:
        return OPAY_E_BAD_REQUEST;

    case 502:
        return OPAY_E_UPSTREAM_UNAVAILABLE;

    case 503:
        return OPAY_E_UNAVAILABLE;

    case 504:
        return OPAY_E_UPSTREAM_TIMEOUT;

    default:

        if (status < 400) {
            return OPAY_E_NONE;
        }

        return status < 500 ? OPAY_E_BAD_REQUEST : OPAY_E_INTERNAL_ERROR;
    }
}
