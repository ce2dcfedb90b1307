
/*
 * opay_money: amounts in minor units of an ISO 4217 currency.
 * Pure functions.  An amount is 0..OPAY_MONEY_MAX: what JSON numbers hold
 * exactly everywhere.
 */

#ifndef OPAY_MONEY_H_INCLUDED
#define OPAY_MONEY_H_INCLUDED

#include "opay_base.h"


#define OPAY_MONEY_MAX         INT64_C(9007199254740991)
#define OPAY_CURRENCY_DEFAULT  "KRW"


static inline int
opay_money_valid(int64_t amount)
{
    return amount >= 0 && amount <= OPAY_MONEY_MAX;
}


/*
 * OPAY_ERROR, and *out untouched, when an operand or the result is not an
 * amount.
 */
int opay_money_add(int64_t a, int64_t b, int64_t *out);
int opay_money_sub(int64_t a, int64_t b, int64_t *out);
int opay_money_mul(int64_t amount, int64_t quantity, int64_t *out);

/* Is it an active ISO 4217 code with a minor unit, in upper case? */
int opay_currency_valid(opay_str_t code);

/* Digits after the decimal point: KRW 0, USD 2, KWD 3; -1: not a currency. */
int opay_currency_digits(opay_str_t code);


#endif /* OPAY_MONEY_H_INCLUDED */
