/* SPDX-License-Identifier: Apache-2.0 */
/* The term walker: what it lets through can be decoded, cut or changed as it may be */
#include <errno.h>
#include "port_text.h"
#include "term.h"

/* NOLINTNEXTLINE(misc-no-recursion): as deep as term_open() lets it be */
static void walk(struct term *term, int depth)
{
	char atom[TERM_ATOM_SIZE];
	const char *string;
	long long number;
	int count;
	struct term before = *term;

	CHECK(depth <= TERM_DEPTH_MAX + 1);
	if (term_get_atom(term, atom) == 0)
		return;
	*term = before;
	if (term_get_integer(term, INT64_MIN, INT64_MAX, &number) == 0)
		return;
	*term = before;
	if (term_get_string(term, &string) == 0)
		return;
	*term = before;
	if (term_get_list(term, &count) == 0) {
		for (int i = 0; i < count; i++)
			walk(term, depth + 1);
		term_get_list_end(term, count);
		return;
	}
	*term = before;
	if (term_get_map(term, &count) == 0)
		for (int i = 0; i < 2 * count; i++)
			walk(term, depth + 1);
}

/* An exact copy on the heap, so that ASan sees a byte too many. */
static int try_term(const void *bytes, size_t len)
{
	struct term_arena arena;
	struct term term;
	char *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, bytes, len);
	err = term_open(&term, copy, len);
	if (!err) {
		CHECK(term_arena_init(&arena, len) == 0);
		term.arena = &arena;
		walk(&term, 0);
		term_arena_free(&arena);
	}
	free(copy);
	return err;
}

static const char *const texts[] = {
	"[]",
	"[1,2,3]",
	"{call,7,start,[#{mem=>64,disks=>[{\"/d\",ro}]}]}",
	"12345678901234",
	"-1",
	"1.5",
	"\"bytes\"",
	"[300,[1,2],\"x\",[\"a\",\"b\"],[]]",
	"#{a=>#{b=>[{c,d}]}}",
	"{run,[1,#{argv=>[\"a\",\"b\"],env=>[]}]}",
	"[[1]]",
	"[[],[[1,2]]]",
};

static void whole_terms_pass_and_cut_ones_do_not(void)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ei_x_buff x;

		ei_x_new_with_version(&x);
		CHECK(*text_encode(texts[i], &x) == 0);
		CHECK(try_term(x.buff, (size_t)x.index) == 0);
		for (int len = 0; len < x.index; len++)
			CHECK(try_term(x.buff, (size_t)len) < 0);
		ei_x_free(&x);
	}
}

static void changed_terms_are_decoded_safely(void)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ei_x_buff x;

		ei_x_new_with_version(&x);
		text_encode(texts[i], &x);
		for (int at = 0; at < x.index; at++)
			for (int value = 0; value < 256; value++) {
				char was = x.buff[at];

				x.buff[at] = (char)value;
				try_term(x.buff, (size_t)x.index);
				x.buff[at] = was;
			}
		ei_x_free(&x);
	}
}

static void numbers_stay_in_their_range(void)
{
	static const char big[] = "\x83n\x8\0\xff\xff\xff\xff\xff\xff\xff\xff";
	static const char bigger[] = "\x83n\x9\0\1\1\1\1\1\1\1\1\1";
	struct term term;
	long long number;

	CHECK(term_open(&term, big, sizeof(big) - 1) == 0);
	CHECK(term_get_integer(&term, 0, INT64_MAX, &number) < 0);
	CHECK(term_open(&term, bigger, sizeof(bigger) - 1) == 0);
	CHECK(term_get_integer(&term, INT64_MIN, INT64_MAX, &number) < 0);
}

static void a_list_of_bytes_is_a_list(void)
{
	static const char list[] = "\x83k\0\2\x18P";
	struct term term;
	long long number;
	uint32_t small;
	int count;

	CHECK(term_open(&term, list, sizeof(list) - 1) == 0);
	CHECK(term_get_list(&term, &count) == 0 && count == 2);
	CHECK(term_get_integer(&term, 0, 100, &number) == 0 && number == 24);
	CHECK(term_get_list_end(&term, count) < 0);
	CHECK(term_open(&term, list, sizeof(list) - 1) == 0);
	CHECK(term_get_list(&term, &count) == 0);
	CHECK(term_get_u32(&term, 0, &small) == 0 && term_get_u32(&term, 0, &small) == 0);
	CHECK(small == 80 && term_get_u32(&term, 0, &small) < 0);
	CHECK(term_get_list_end(&term, count) == 0);
	CHECK(term_get_u32(&term, 0, &small) < 0);
}

static void errors_have_their_posix_names(void)
{
	static const struct {
		int err;
		const char *text;
	} names[] = {{ENOENT, "enoent"}, {EINVAL, "einval"},	 {0, "unknown"},  {-1, "unknown"},
		     {12345, "unknown"}, {ENOTCONN, "enotconn"}, {E2BIG, "e2big"}};

	for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++) {
		struct term_out out;
		char *text;

		term_out_init(&out);
		term_put_posix(&out, names[i].err);
		CHECK(!out.failed);
		text = text_of_term(out.x.buff, out.x.index);
		CHECK(names[i].err == 0 || strcmp(text, names[i].text) == 0);
		free(text);
		term_out_free(&out);
	}
}

int main(void)
{
	whole_terms_pass_and_cut_ones_do_not();
	changed_terms_are_decoded_safely();
	numbers_stay_in_their_range();
	a_list_of_bytes_is_a_list();
	errors_have_their_posix_names();
	return 0;
}
