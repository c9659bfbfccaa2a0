#include <stdarg.h>
#include <sys/types.h>

static __thread char bytes[LONGEST];

static __thread char filled[LONGEST];

/* Pairs of a text and a length: the text over and over, zeros where it is empty. */
static size_t fill_pairs(char *into, const char *text, va_list pairs)
{
	size_t done = 0;

	while (text) {
		size_t length = va_arg(pairs, int), period = strlen(text);

		for (size_t i = 0; i < length; i++)
			into[done++] = period ? text[i % period] : 0;
		text = va_arg(pairs, const char *);
	}
	return done;
}

#define fill(...) filled_with(__VA_ARGS__, NULL)

static char *filled_with(const char *text, ...)
{
	va_list pairs;

	va_start(pairs, text);
	fill_pairs(filled, text, pairs);
	va_end(pairs);
	return filled;
}

#define expect_bytes(call, ...) check_bytes(#call, answer(call), #__VA_ARGS__, __VA_ARGS__, NULL)

/* The call has left these bytes in `bytes`, and so many of them. */
static void check_bytes(const char *call, long got, const char *want, const char *text, ...)
{
	static __thread char wanted[LONGEST];
	va_list pairs;
	long length;
	int same;

	va_start(pairs, text);
	length = fill_pairs(wanted, text, pairs);
	va_end(pairs);
	same = got == length && !memcmp(bytes, wanted, length);
	check(same, call, want, got);
	if (!same && got > 0)
		printf("# content: %.8s...\n", bytes);
}
