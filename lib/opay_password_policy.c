
/*
 * What may become a password or an e-mail address; see opay_password.h.
 */

#include "opay_password.h"


/*
 * The commonest of published breach lists that are long enough to pass the
 * length rule, lower case, each ended by a space.
 */
static const char  opay_password_common[] =
    " password password1 password12 password123 password1234 passw0rd "
    "p@ssw0rd p@ssword p@ssw0rd1 passw0rd1 pa55word password! password1! "
    "12345678 123456789 1234567890 12345678910 0123456789 87654321 "
    "987654321 0987654321 9876543210 123123123 1234512345 123456123456 "
    "12341234 11223344 1122334455 12121212 13131313 11112222 147258369 "
    "123654789 741852963 789456123 159753456 qwertyui qwertyuiop qwerty123 "
    "qwerty12 qwerty1234 qwerty12345 qwerty123456 qwertyuiop123 1qaz2wsx "
    "1qaz2wsx3edc zaq12wsx zaq1zaq1 qazwsxedc qazwsx123 1q2w3e4r 1q2w3e4r5t "
    "1q2w3e4r5t6y q1w2e3r4 q1w2e3r4t5 qweasdzxc asdfghjk asdfghjkl asdfasdf "
    "asdf1234 zxcvbnm1 zxcvbnm123 1234qwer 123qweasd 123qweasdzxc qweqweqwe "
    "abcd1234 abc12345 abcdefgh abcdefg1 a1b2c3d4 aa123456 aa12345678 "
    "a1234567 a12345678 a123456789 123456aa 123456abc 12345abc 1234abcd "
    "123456qwe 12345qwert iloveyou iloveyou1 iloveyou2 iloveyou123 ilovegod "
    "ilovejesus iloveme1 loveyou1 lovelove sunshine sunshine1 princess "
    "princess1 football football1 baseball baseball1 basketball superman "
    "superman1 batman123 spiderman starwars pokemon1 pokemon123 trustno1 "
    "welcome1 welcome123 welcome12 welcome01 letmein1 letmein123 whatever "
    "whatever1 computer computer1 internet samsung1 samsung123 michelle "
    "michael1 jennifer jessica1 charlie1 jordan23 liverpool liverpool1 "
    "chelsea1 arsenal1 manchester barcelona realmadrid juventus ferrari1 "
    "mercedes porsche1 corvette mustang1 chocolate chocolate1 butterfly "
    "elephant dolphin1 cheese123 monkey123 monkey12 dragon123 dragon12 "
    "master123 shadow123 killer123 hunter123 freedom1 freedom123 blink182 "
    "metallica nirvana1 slipknot linkinpark babygirl babygirl1 bestfriend "
    "angel123 angelina lollipop blessed1 jesus123 christian maverick "
    "midnight creative december november september january1 february "
    "summer123 summer2024 summer2025 winter123 spring123 autumn123 "
    "changeme changeme1 changeme123 default1 default123 temp1234 temporary "
    "test1234 test12345 testtest testing1 testing123 tester123 guest123 "
    "user1234 username admin123 admin1234 admin12345 administrator "
    "adminadmin root1234 rootroot toor1234 secret123 secret12 p4ssword "
    "access14 access123 login123 loginlogin company1 server123 oracle123 "
    "google123 facebook facebook1 linkedin myspace1 yahoo123 hotmail1 "
    "asd123456 asdasdasd zxczxczxc qazqazqaz wsxwsxwsx aaaaaaaa1 "
    "computer123 nothing1 anything something forever1 rainbow1 sweetheart "
    "victoria victory1 scorpion vampire1 warcraft minecraft fortnite "
    "playstation nintendo danielle alexander alexandra elizabeth christopher "
    "korea123 seoul123 dkssud12 tkfkdgo1 asdf5678 ";


static unsigned char
opay_password_lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}


static int
opay_password_same(const char *a, const char *b, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (opay_password_lower((unsigned char) a[i])
            != opay_password_lower((unsigned char) b[i]))
        {
            return 0;
        }
    }

    return 1;
}


static int
opay_password_listed(opay_str_t pw)
{
    size_t       n;
    const char  *p, *e;

    for (p = opay_password_common + 1; *p; p = e + 1) {
        e = strchr(p, ' ');
        n = e - p;

        if (n == pw.len && opay_password_same(p, pw.data, n)) {
            return 1;
        }
    }

    return 0;
}


/* One character over and over, or characters that count up or down by one. */
static int
opay_password_trivial(opay_str_t pw)
{
    int     step;
    size_t  i;

    step = pw.data[1] - pw.data[0];

    if (step < -1 || step > 1) {
        return 0;
    }

    for (i = 2; i < pw.len; i++) {
        if (pw.data[i] - pw.data[i - 1] != step) {
            return 0;
        }
    }

    return 1;
}


/* Bytes of the character at p (n left), 0 when it is not UTF-8. */
static size_t
opay_password_utf8(const uint8_t *p, size_t n)
{
    size_t    i, len;
    uint32_t  c, min;

    if (*p < 0x80) {
        return *p != 0;
    }

    if (*p >= 0xc2 && *p <= 0xdf) {
        len = 2;
        min = 0x80;
        c = *p & 0x1f;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        len = 3;
        min = 0x800;
        c = *p & 0x0f;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        len = 4;
        min = 0x10000;
        c = *p & 0x07;

    } else {
        return 0;
    }

    if (len > n) {
        return 0;
    }

    for (i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}


opay_password_policy_e
opay_password_policy(opay_str_t password, opay_str_t email)
{
    size_t          i, n, points;
    const char     *at;
    const uint8_t  *p;

    if (password.len > OPAY_PASSWORD_BYTES_MAX) {
        return OPAY_PASSWORD_TOO_LONG;
    }

    p = (const uint8_t *) password.data;
    points = 0;

    for (i = 0; i < password.len; i += n) {
        n = opay_password_utf8(p + i, password.len - i);

        if (n == 0) {
            return OPAY_PASSWORD_ENCODING;
        }

        points++;
    }

    if (points < OPAY_PASSWORD_MIN) {
        return OPAY_PASSWORD_TOO_SHORT;
    }

    if (points > OPAY_PASSWORD_MAX) {
        return OPAY_PASSWORD_TOO_LONG;
    }

    at = email.len ? memchr(email.data, '@', email.len) : NULL;
    n = at ? (size_t) (at - email.data) : 0;

    if ((password.len == email.len
         && opay_password_same(password.data, email.data, email.len))
        || (n && password.len == n
            && opay_password_same(password.data, email.data, n)))
    {
        return OPAY_PASSWORD_LIKE_EMAIL;
    }

    return opay_password_trivial(password) || opay_password_listed(password)
           ? OPAY_PASSWORD_COMMON : OPAY_PASSWORD_OK;
}


const char *
opay_password_policy_name(opay_password_policy_e e)
{
    switch (e) {

    case OPAY_PASSWORD_OK:
        return "ok";

    case OPAY_PASSWORD_TOO_SHORT:
        return "too_short";

    case OPAY_PASSWORD_TOO_LONG:
        return "too_long";

    case OPAY_PASSWORD_ENCODING:
        return "encoding";

    case OPAY_PASSWORD_COMMON:
        return "too_common";

    case OPAY_PASSWORD_LIKE_EMAIL:
        return "like_email";
    }

    return "unknown";
}


static int
opay_email_alnum(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}


/* Dot-atom of RFC 5322 section 3.2.3, at most 64 bytes; lower case already. */
static int
opay_email_local(const char *p, size_t n)
{
    size_t  i;

    if (n == 0 || n > 64 || p[0] == '.' || p[n - 1] == '.') {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (p[i] == '.') {
            if (p[i + 1] == '.') {
                return 0;
            }

        } else if (!opay_email_alnum((unsigned char) p[i])
                   && (p[i] == '\0'
                       || strchr("!#$%&'*+/=?^_`{|}~-", p[i]) == NULL))
        {
            return 0;
        }
    }

    return 1;
}


/* Two labels or more, the last one not a number. */
static int
opay_email_domain(const char *p, size_t n)
{
    size_t    i, start;
    unsigned  labels, letter;

    labels = 0;
    start = 0;
    letter = 0;

    for (i = 0; i <= n; i++) {
        if (i == n || p[i] == '.') {
            if (i == start || i - start > 63 || p[start] == '-'
                || p[i - 1] == '-')
            {
                return 0;
            }

            if (i < n) {
                letter = 0;
            }

            labels++;
            start = i + 1;

        } else if (opay_email_alnum((unsigned char) p[i])) {
            letter |= p[i] >= 'a';

        } else if (p[i] != '-') {
            return 0;
        }
    }

    return labels >= 2 && letter;
}


static int
opay_email_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}


opay_email_e
opay_email_normalize(opay_str_t in, char *out, size_t *len)
{
    char    buf[OPAY_EMAIL_MAX + 1];
    char   *at;
    size_t  i;

    while (in.len && opay_email_space(in.data[0])) {
        in.data++;
        in.len--;
    }

    while (in.len && opay_email_space(in.data[in.len - 1])) {
        in.len--;
    }

    if (in.len == 0) {
        return OPAY_EMAIL_EMPTY;
    }

    if (in.len > OPAY_EMAIL_MAX) {
        return OPAY_EMAIL_TOO_LONG;
    }

    for (i = 0; i < in.len; i++) {
        if (in.data[i] & 0x80) {
            return OPAY_EMAIL_NON_ASCII;
        }

        buf[i] = (char) opay_password_lower((unsigned char) in.data[i]);
    }

    buf[i] = '\0';
    at = memchr(buf, '@', in.len);

    if (at == NULL || !opay_email_local(buf, at - buf)
        || !opay_email_domain(at + 1, buf + in.len - (at + 1)))
    {
        return OPAY_EMAIL_FORM;
    }

    memcpy(out, buf, in.len + 1);
    *len = in.len;

    return OPAY_EMAIL_OK;
}


const char *
opay_email_name(opay_email_e e)
{
    switch (e) {

    case OPAY_EMAIL_OK:
        return "ok";

    case OPAY_EMAIL_EMPTY:
        return "required";

    case OPAY_EMAIL_TOO_LONG:
        return "too_long";

    case OPAY_EMAIL_FORM:
        return "format";

    case OPAY_EMAIL_NON_ASCII:
        return "non_ascii";
    }

    return "unknown";
}
