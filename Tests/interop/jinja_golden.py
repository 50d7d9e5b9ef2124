#!/usr/bin/env python3
"""Renders templates with Python's jinja2 as transformers configures it, for the Swift tests to replay.

    python Tests/interop/jinja_golden.py > Tests/RuntimeTests/Resources/ChatTemplate/jinja_golden.json

Needs transformers (its own environment is used: sandbox, tojson, raise_exception, loop controls).
The chat templates below are written for this test: they take the constructs of the templates that models
ship with (ChatML, Llama 2 and 3, Mistral, Zephyr, Gemma, Phi, Qwen, DeepSeek, Command R, Hermes), in few words.
"""
import json
import sys

import jinja2
from transformers.utils.chat_template_utils import _compile_jinja_template

TEXT = {
    "s": "Hello, World", "u": "naïve e\u0301 日本 👩\u200d👩\u200d👧 ß", "sp": "  \t two  words \n", "e": "", "n": 7, "neg": -7, "f": 2.5,
    "big": 1e16, "small": 1.5e-05, "t": True, "no": None, "l": [3, 1, 2], "names": ["bob", "Al", "cy", "al"],
    "d": {"b": 1, "a": [1, "x'y"], "items": 5, "nested": {"k": None}}, "q": "it's \"quoted\" \\ \n",
    "m": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo", "n": 2}, {"role": "user", "content": "bye", "n": 1}],
}

EXPRESSIONS = r"""
{{ s }}|{{ missing }}|{{ no }}|{{ t }}|{{ f }}|{{ big }}|{{ small }}|{{ l }}|{{ d }}
{{ 1e22 }} {{ 123456789.125 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 100.0 }} {{ 1e-4 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 8 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }}
{{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -n ** 2 }} {{ +n }} {{ - -n }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 9223372036854775807 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5_0 }}
{{ true + true }} {{ true == 1 }} {{ 1 == 1.0 }} {{ 1 is true }} {{ [1, true] == [1.0, 1] }} {{ none == false }}
{{ 'a' + 1 }}
{{ 'a' ~ 1 ~ none ~ 2.0 ~ [1] }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [0] * 2 }} {{ 'ab' * -1 }}|
{{ [1] + [2, [3]] }} {{ (1,) + (2,) }} {{ (1,) }} {{ () }} {{ 1, 2 }} {{ [] }} {{ {} }} {{ {'a': 1, 2: 'b', none: true} }}
{{ [1] + (2,) }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1 != 2 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ 1.5 >= 1 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ 'ell' in s }} {{ 'x' not in s }} {{ 3 in l }} {{ 'b' in d }} {{ 'z' in d }} {{ '' in '' }} {{ 'a' in missing }} {{ not 3 in l }}
{{ 1 in 'a' }}
{{ 1 in 5 }}
{{ true and 0 }} {{ 0 or 'x' }} {{ not 0 }} {{ not '' and 1 }} {{ [] or {} or none }} {{ 1 and 2 or 3 }} {{ missing or 'd' }}
{{ 'y' if t else 'n' }} {{ 'y' if no }}| {{ 'a' if no else 'b' if e else 'c' }} {{ ('x' if false) is defined }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[-5:] }} {{ s[:-5] }} {{ s[::3] }} {{ s[10:2:-3] }} {{ s[99] }}| {{ s[5:99] }} {{ s[99:] }}|
{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[:-9] }} {{ l[9:] }} {{ l[2:0:-1] }} {{ l[-9:9] }} {{ l[9] }}| {{ l[::-2] }}
{{ l[::0] }}
{{ l['a'] }}|{{ s['a'] }}|{{ n['a'] }}|{{ n.foo }}|{{ none.foo }}|{{ d[[1]] }}|{{ d.zzz }}
{{ l[1.5] }}|{{ l[true] }}|{{ m[0]['role'] }}|{{ m.0.role }}|{{ m[0].content[0] }}
{{ d.b }} {{ d['b'] }} {{ d['items'] }} {{ d.nested.k }} {{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 4) }} {{ d['nested']['zz'] }}|
{{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.keys() }} {{ d.items() }} {{ d.keys() | length }}
{{ missing.foo }}
{{ missing['foo'] }}
{{ missing() }}
{{ d.nested.k.foo.bar }}
{{ m[5].role }}
{{ missing + 1 }}
{{ missing < 1 }}
{{ -missing }}
{{ missing | int }}
{{ missing | tojson }}
{{ missing == missing2 }} {{ missing == none }} {{ missing | length }} {{ missing | list }} {{ missing | upper }}| {{ missing | join }}| {{ missing is string }}
{{ missing is defined }} {{ s is defined }} {{ missing is undefined }} {{ d.zz is defined }} {{ d.b is defined }} {{ not missing is defined }} {{ missing is not defined }}
{{ no is none }} {{ no is not none }} {{ missing is none }} {{ t is true }} {{ t is boolean }} {{ 1 is true }} {{ 0 is false }} {{ false is false }}
{{ n is number }} {{ t is number }} {{ f is number }} {{ '1' is number }} {{ n is integer }} {{ t is integer }} {{ f is integer }} {{ f is float }} {{ n is float }}
{{ s is string }} {{ n is string }} {{ d is mapping }} {{ l is mapping }} {{ l is iterable }} {{ s is iterable }} {{ n is iterable }} {{ d is iterable }}
{{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ range(3) is sequence }} {{ d.keys() is sequence }} {{ l | map('string') is sequence }}
{{ n is odd }} {{ n is even }} {{ neg is odd }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ n is eq 7 }} {{ n is equalto(7) }} {{ n is ne 7 }}
{{ n is gt 3 }} {{ n is ge(7) }} {{ n is lt 3 }} {{ n is le 7 }} {{ 'a' is in 'abc' }} {{ 3 is in l }} {{ 3 is not in l }} {{ range is callable }} {{ s.upper is callable }} {{ n is callable }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'aB1' is lower }} {{ '12' is upper }} {{ none is sameas none }} {{ 1 is sameas true }} {{ n is sameas n }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
{{ s is nosuchtest }}
{{ s | nosuchfilter }}
{{ s | upper | lower | title }} {{ 'hello wORLD it\'s a-b (c' | title }} {{ "it's ok".title() }} {{ 'hELLO' | capitalize }} {{ 'ß ǆ' | upper }} {{ 'ǆx' | capitalize }}
[{{ sp | trim }}] [{{ sp.strip() }}] [{{ sp.lstrip() }}] [{{ sp.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'abcab'.lstrip('ab') }}] [{{ 'abcab' | trim('ab') }}] [{{ '\u3000a\xa0' | trim }}]
{{ s | length }} {{ u | length }} {{ u[0:3] }} {{ u[4] }}{{ u[5] }} {{ u | reverse }} {{ d | length }} {{ l | count }} {{ u == u }} {{ 'é' == 'e\u0301' }}
{{ n | length }}
{{ l | map('string') | length }}
{{ s.split(', ') }} {{ sp.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.split(None, 1) }} {{ ' a b  c '.rsplit(None, 1) }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a,,b'.split(',') }}
{{ 'a'.split('') }}
{{ 'aXXXb'.rsplit('XX') }} {{ 'aXXXb'.split('XX') }} {{ 'a,b,c'.split(sep=',', maxsplit=1) }}
{{ 'a\nb\r\nc\rd\n'.splitlines() }} {{ 'a\nb'.splitlines(true) }} {{ ''.splitlines() }}
{{ s.startswith('Hell') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('d') }} {{ s.endswith('') }} {{ s.startswith('World', 7) }} {{ s.startswith('o', -1) }}
{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ s | replace('l', '') }} {{ 'abc'.replace('', '-') }} {{ s | replace('o', '0', 1) }} {{ 12 | replace(1, 3) }}
{{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ s.index('W') }} {{ s.count('l') }} {{ u.find('日') }} {{ s.find('o', 5) }} {{ s.count('') }}
{{ s.index('zz') }}
{{ s.upper() }} {{ s.lower() }} {{ s.capitalize() }} {{ s.swapcase() }} {{ s.casefold() }} {{ '12'.isdigit() }} {{ '1a'.isdigit() }} {{ ''.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'Ab'.isupper() }} {{ 'ab1'.islower() }} {{ '²'.isdigit() }} {{ '½'.isnumeric() }}
{{ s.removeprefix('Hello') }} {{ s.removesuffix('World') }} {{ s.removeprefix('x') }} {{ s.partition(', ') }} {{ s.rpartition('o') }} {{ s.partition('x') }}
{{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} [{{ 'a'.ljust(3) }}] [{{ 'a'.rjust(3, '.') }}] [{{ 'ab'.center(5) }}] [{{ 'a'.center(4) }}] [{{ 'ab' | center(7) }}]
{{ '-'.join(['a', 'b']) }} {{ l | join(', ') }} {{ m | join('|', attribute='content') }} {{ 'abc' | join('.') }} {{ [1, none, 'x'] | join(d='/') }} {{ [] | join }}|
{{ ','.join([1]) }}
{{ '{} and {}'.format('a', 1) }} {{ '{1}{0}'.format(1, 2) }} {{ '{x:>5}|{x:<5}|{x:^5}'.format(x='ab') }} {{ '{:.2f} {:05d} {:+d}'.format(3.14159, 42, 7) }} {{ '{0[k]} {0[b]}'.format({'k': 1, 'b': 2}) }} {{ '{{}}'.format() }} {{ '{!r}'.format('a') }}
{{ '%s-%d-%.1f%%' | format('a', 3, 2.25) }} {{ '%s' % s }} {{ '%5s|%-5s|%05d' % ('a', 'b', 42) }} {{ '%(a)s' % {'a': 1} }} {{ '%x %r' % (255, 'q') }}
{{ '%s %s' % 'a' }}
{{ '%s' % (1, 2) }}
{{ '%d' % 'a' }}
{{ 'a'.nosuchmethod() }}
{{ l.append(4) }}
{{ d.update({}) }}
{{ l.append }}|{{ l.append is defined }}|{{ s.__class__ }}|{{ l.index(2) }} {{ l.count(9) }}
{{ s.__class__.__mro__ }}
{{ l.index(9) }}
{{ d | tojson }} {{ s | tojson }} {{ q | tojson }} {{ u | tojson }} {{ [1.0, 1e30, true, none, 'a'] | tojson }} {{ (1, 2) | tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=4) }} {{ [1, [2]] | tojson(indent=1) }} {{ [1] | tojson(indent='\t') }} {{ [1] | tojson(indent=0) }}
{{ d | tojson(separators=(',', ':')) }} {{ {'b': 1, 'a': {'z': 1, 'y': 2}} | tojson(sort_keys=true) }} {{ '<a & "b">\u0001\u007f\b\f' | tojson }} {{ d.a | tojson }}
{{ range(3) | tojson }}
{{ d.items() | tojson }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ names | sort }} {{ names | sort(case_sensitive=true) }} {{ m | sort(attribute='content') | map(attribute='content') | list }} {{ 'cab' | sort }}
{{ [1, 'a'] | sort }}
{{ l | min }} {{ l | max }} {{ l | sum }} {{ m | selectattr('n') | sum(attribute='n') }} {{ names | max }} {{ [] | min is defined }} {{ [1, 2.5] | sum }} {{ m[1:] | map(attribute='n') | max }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ [] | first }}| {{ d | first }} {{ range(5) | last }} {{ names | unique | list }} {{ [1, 1.0, true, 2] | unique | list }}
{{ l | map('string') | last }}
{{ l | reverse | list }} {{ s | reverse }} {{ l | list }} {{ 'abc' | list }} {{ d | list }} {{ d | items | list }} {{ d | dictsort }} {{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'a': 2} | dictsort(by='value', reverse=true) }}
{{ n | items | list }}
{{ m | map(attribute='content') | list }} {{ names | map('upper') | join(',') }} {{ m | map(attribute='n', default=0) | list }} {{ [[1], [2]] | map(attribute=0) | list }} {{ names | map('replace', 'l', 'L') | list }} {{ m | map(attribute='content.0') | list }}
{{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ l | select('gt', 1) | list }} {{ [0, 1, '', 'a'] | select | list }} {{ m | selectattr('role', 'equalto', 'user') | list | length }} {{ m | rejectattr('role', 'eq', 'user') | map(attribute='content') | first }} {{ m | selectattr('n', 'defined') | list | length }} {{ m | rejectattr('n') | list }}
{{ m | selectattr('role', 'in', ['user', 'tool']) | map(attribute='content') | join(' ') }} {{ l | select('>', 1) | list }} {{ l | select('in', [1]) | list }}
{{ l | select('nosuch') | list }}
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ 3.99 | int }} {{ -3.99 | int }} {{ 'ff' | int(base=16) }} {{ '0xff' | int(0, 16) }} {{ ' 7 ' | int }} {{ none | int }} {{ true | int }} {{ [] | int(5) }}
{{ '1.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ 'x' | float(2) }} {{ 'inf' | float }} {{ '1e3' | float }} {{ -5 | abs }} {{ -5.5 | abs }} {{ (-5) | abs }}
{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 2.1 | round(method='ceil') }} {{ 2.19 | round(1, 'floor') }} {{ 7 | round }} {{ 1234 | round(-2) }} {{ 1.005 | round(2) }} {{ -2.5 | round }}
{{ 'a' | round }}
{{ missing | default('x') }} {{ no | default('x') }} {{ no | d('x', true) }} {{ e | default('x', boolean=true) }} {{ d.zz | default(d.b) }} {{ missing | default }}| {{ 0 | default(1) }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(width='> ', blank=true) }}|{{ 'a\n' | indent }}|{{ '' | indent }}
{{ '<b> & "q" \'' | escape }} {{ '<b>' | e }} {{ '<b>' | safe }} {{ '<b>' }} {{ 5 | string + '5' }} {{ none | string }} {{ [1, 'a'] | string }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 0) | list }} {{ 'a b  c' | wordcount }} {{ 'hello big world' | truncate(9) }} {{ 'hello big world' | truncate(9, true, '..', 0) }} {{ 'short' | truncate(4) }}
{{ range(3) }} {{ range(3) | list }} {{ range(1, 10, 3) | list }} {{ range(5, 0, -2) | list }} {{ range(3)[1] }} {{ range(3) | length }} {{ 2 in range(3) }} {{ range(0) | list }} {{ range(10)[2:5] | list }}
{{ range(1000000000) | list }}
{{ range(0, 5, 0) | list }}
{{ range('a') }}
{{ 'a' 'b' "c" }} {{ 'tab\tnl\nq\'\"\\ \x41 \u00e9 \U0001F600 \101 \d' }} {{ "a
b" }}
{{ q }} {{ [q] }} {{ ["it's"] }} {{ ['"'] }} {{ ['\u200b\x7f\xa0é日\x00'] }} {{ [u] }}
{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'a': 1}, b=2) }} {{ namespace(a=3).a }} {{ namespace(a=3).b }}|
{{ loop }}|{{ caller }}|
{{ s(1) }}
{{ n.foo.bar }}
{{ {'a': 1}['a'] }} {{ [1, 2, 3,] }} {{ {'a': 1,} }} {{ (1, 2)[0] }} {{ 'abc'[1] }} {{ [[1, 2], [3]][0][1] }} {{ {'x': {'y': [10, 20]}}.x.y[1] }}
{{ {[1]: 2} }}
{{ d | attr('b') }}| {{ 'x' | attr('upper') is callable }}
{{ '}}' }} {{ '{% if %}' }} {{ {'a': {'b': 1}}}} {{ "{{" }}
{{ raise_exception('no ' ~ n ~ ' allowed') }}
{{ strftime_now('%%') }} {{ strftime_now is defined }} {{ strftime_now('%Y') | length }}
{{ not true == false }} {{ not (true == false) }} {{ 1 + 1 == 2 and 'a' in 'abc' }} {{ 'a' ~ 'b' == 'ab' }}
{{ 1 ~ 2 + 3 }}
{{ n is not none and n > 3 }} {{ n is defined and n is number }} {{ s is string and not s is number }} {{ 5 is odd and 4 is even }} {{ 'a' if n is gt 3 else 'b' }}
{{ l | length > 2 }} {{ -1 | abs }} {{ 2 * l | length }} {{ l | sum / 2 }} {{ 'a' ~ 'b' | upper }} {{ ('a' ~ 'b') | upper }} {{ not l | length == 3 }}
{{ s.upper().lower()[0:3].title() }} {{ (s | upper).split(',')[0] }} {{ s['upper']() }} {{ d['keys']() | list }}
{{ none.upper() }}
{{ 5.5.foo }}|{{ 3.foo }}
""".strip("\n")

STATEMENTS = [
    # loops
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}:{{ x }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }};{% endfor %}",
    "{% for x in [] %}a{% else %}empty{% endfor %}{% for x in missing %}a{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'aé日' %}[{{ c }}]{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}={{ x }} {% else %}no{% endfor %}{% for x in l if x > 9 %}{% else %}none{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3)), (4, [5, 6])] %}{{ a }}{{ b }}{{ c }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% for y in 'ab' %}{{ loop.index }}{{ loop.depth }}{{ y }}{% if y == 'a' %}{% continue %}{% endif %}!{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in l %}{% if loop.first %}{% set z = 0 %}{% endif %}{{ z }}{% set z = x %}{{ z }} {% endfor %}[{{ z }}]",
    "{% set z = 5 %}{% for x in l %}{{ z }}{% set z = x %}{{ z }} {% endfor %}{{ z }}",
    "{% set ns = namespace(total=0, seen=[]) %}{% for x in l %}{% set ns.total = ns.total + x %}{% set ns.seen = ns.seen + [x] %}{% endfor %}{{ ns.total }} {{ ns.seen }}",
    "{% set x.y = 1 %}", "{% set d.y = 1 %}", "{% set ns = namespace(_a=1) %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% for x in l | map('string') %}{{ loop.length }}{{ loop.last }}{{ x }} {% endfor %}",
    "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}{% set h = l | map('string') %}{{ h | first }}{{ h | list }}",
    "{% for m1 in m %}{{ m1.role }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for _ in range(2) %}{{ loop.index }}{% endfor %}",
    "{% for i in range(3) %}{% set last = loop.last %}{{ i }}{% endfor %}{{ last is defined }}",
    # conditions
    "{% if n > 5 and not e %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if e %}x{% elif no %}y{% else %}z{% endif %}",
    "{% if false %}{% set w = 1 %}{% endif %}{{ w is defined }}{% if true %}{% set w = 2 %}{% endif %}{{ w }}",
    "{% if missing %}a{% endif %}{% if missing is defined and missing.x %}b{% endif %}{% if not missing %}c{% endif %}",
    "{% if d.nested is mapping and d.nested.k is none %}ok{% endif %}",
    # set
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = a, b %}{{ c }}{% set (x, y) = [3, 4] %}{{ x }}{{ y }}",
    "{% set a %}block {{ n }}{% endset %}[{{ a }}]{% set b | upper | trim %} x{{ n }} {% endset %}[{{ b }}]{{ a is string }}",
    "{% set s = s | upper %}{{ s }}{% set l = l[1:] %}{{ l }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set q2 = 3 %}{% endwith %}{{ a }}{{ q2 }}|{% with n = 1, z = n %}{{ n }}{{ z }}{% endwith %}",
    "{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | trim %} aaa {% endfilter %}",
    # macros
    "{% macro f(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(1, c=9) }} {{ f(b=5, a=4) }} {{ f() }}",
    "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}",
    "{% macro f(a) %}[{{ a.x }}]{% endmacro %}{{ f() }}",
    "{% set z = 1 %}{% macro f() %}{{ z }}{{ late }}{% endmacro %}{% set z = 2 %}{% set late = 3 %}{{ f() }}{{ f() | length }}{{ f() ~ '!' }}",
    "{% macro show(v, depth=0) %}{% if v is mapping %}{% for k, w in v.items() %}{{ '  ' * depth }}{{ k }}:\n{{ show(w, depth + 1) }}{% endfor %}{% else %}{{ '  ' * depth }}{{ v }}\n{% endif %}{% endmacro %}{{ show(d) }}",
    "{% macro wrap(tag) %}<{{ tag }}>{{ caller() }}</{{ tag }}>{% endmacro %}{% call wrap('b') %}in {{ n }}{% endcall %}",
    "{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }};{% endfor %}{% endmacro %}{% call(v, i) each(l) %}{{ i }}={{ v }}{% endcall %}",
    "{% macro f() %}{{ 1 }}{% endmacro %}{{ f is callable }}{% call f() %}x{% endcall %}",
    "{% macro f(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ f('a') }}]",
    "{% macro f() %}{% set inner = 1 %}{{ inner }}{% endmacro %}{{ f() }}{{ inner }}|",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{% for x in l %}{% macro g() %}{{ x }}{% endmacro %}{{ g() }}{% endfor %}",
    # generation
    "{% for x in m %}{% generation %}{{ x.content }}\n{% endgeneration %}{% endfor %}",
    "{% generation %}{% set inside = 1 %}{{ inside }}{% endgeneration %}{{ inside }}|",
    # whitespace
    "  {% if t %}  \n  a\n  {% endif %}\n b\n", "  {%- if t -%}  \n  a  \n  {%- endif -%}  \n b", "x\n  {%+ if t %}y{% endif +%}\nz", "a {{- n -}} b\n  {{ n }}\n c",
    "a\n   {# comment #}\nb{# c1\n c2 #} {#- c3 -#}  \n d", "  {% set a = 1 %}\n  {% set b = 2 %}\n{{ a }}{{ b }}\n", "{% if t %}\n\n x{% endif %}\n\n", "\t{% if t %}q{% endif %} \t{% if t %}r{% endif %}",
    "a\r\nb\rc{{ '\r\n' | length }}\r\n", "line\n\n", "{{ n }}\n{{ n }}\n", "{%- for x in l -%}\n {{ x }},\n{%- endfor -%}\n", "a  {{ n }}  {%- if t %} b {% endif -%}  c", "{#- x -#}  y  {#- z -#}", "\u3000{%- if t %}\u00a0{%- endif %}x",
    "{% raw %}{{ n }}{% if %}{% endraw %}", "a {%- raw -%}  {{ x }}  {%- endraw -%} b", "  {% raw %}\n  {% x %}\n  {% endraw %}\n  b", "{% raw %}{% raw %}{% endraw %}",
    # errors of syntax
    "{% if t %}", "{{ n", "{% for x in %}{% endfor %}", "{% endif %}", "{{ n + }}", "{{ (n }}", "{{ n) }}", "{{ [1, }}", "{% nosuch %}", "{{ 'abc }}", "{{ n | }}", "{{ a b }}", "{# x", "{% raw %}x", "{{ n ? 1 : 2 }}",
    "{% macro f(a=1, b) %}{% endmacro %}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% for true in l %}{% endfor %}", "{{ f(a=1, 2) }}", "{{ n is odd is even }}", "{% else %}", "{{ }}", "{% %}", "{% if %}x{% endif %}", "{{ {1} }}", "{% break %}",
    "{{ x.1y }}", "{{ n.. }}", "{{ '\\x4' }}", "{{ &n }}", "{% if t %}a{% else %}b{% else %}c{% endif %}", "{{ n not l }}", "{% call 5 %}{% endcall %}", "{{ *l }}", "{{ range(*l) | list }} {{ dict(**{'a': 1}) }} {{ 'x{}{}'.format(*[1, 2]) }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
]

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Get the weather <now> & \"later\".", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "City"}, "unit": {"type": "string", "enum": ["C", "F"]}, "days": {"type": ["integer", "null"], "default": 1.0}, "opts": {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "number"}}}}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "Zeit für später", "parameters": {"type": "object", "properties": {}}}},
]
CHATS = {
    "one": [{"role": "user", "content": " Hi there \n"}],
    "system": [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Hello! "}, {"role": "user", "content": "Bye 👋"}],
    "answered": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "<think>so</think>d"}],
    "two_users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "tools": [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2, "deep": {"a": [1, None, True]}}}}, {"id": "call67890", "type": "function", "function": {"name": "now", "arguments": {}}}]}, {"role": "tool", "name": "weather", "tool_call_id": "call12345", "content": "{\"rain\": true}"}, {"role": "tool", "name": "now", "tool_call_id": "call67890", "content": "12:00"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Thanks"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": " what?"}]}],
    "reasoned": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r", "reasoning_content": "\nbecause\n"}, {"role": "user", "content": "next"}],
    "odd_role": [{"role": "wizard", "content": "x"}],
    "empty": [],
}

MODELS = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate.') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "llama3": """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}""",
    "llama31": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message has a place of its own. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: test\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "Functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("There is no first user message to put the tools in.") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- 'Answer as {"name": function name, "parameters": its arguments}.' }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 and single_calls is defined %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- for call in message.tool_calls %}
        {%- set tool_call = call.function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' + arg_val | string + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
                {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {%- endfor %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{#- Users and assistants alternate, tools aside. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Roles must alternate user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs are 9 characters long!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Unknown role " ~ message.role) }}
    {%- endif %}
{%- endfor %}
""",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "gemma3": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
    "phi3": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "phi4mini": "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
    "qwen25": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a test.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a test.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3": """{%- set ns = namespace(open=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.open and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.open = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<｜Assistant｜><｜calls▁begin｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] | tojson + '\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\n' + tool['type'] + '<｜sep｜>' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'<｜calls▁end｜>'}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<｜outputs▁end｜>' + message['content'] + '<｜end｜>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'<｜output｜>' + message['content']}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}""",
    "command": """{{ bos_token }}{%- macro param(p, indent) %}
{%- for name, spec in p.items() %}
{{ ' ' * indent }}{{ name }} ({{ spec.type if spec.type is string else spec.type | join(' or ') }}{{ ', optional' if spec.default is defined }}){% if spec.enum %}: one of {{ spec.enum | join('|') }}{% endif %}
{%- if spec.properties %}{{ param(spec.properties, indent + 2) }}{% endif %}
{%- endfor %}
{%- endmacro %}
{%- if tools %}<|SYSTEM|># Tools{% for tool in tools %}{% if loop.index0 != 0 %}{{ '\n' }}{% endif %}

def {{ tool.function.name }}({% for name in tool.function.parameters.properties %}{{ name }}{{ ', ' if not loop.last }}{% endfor %}):
    \"\"\"{{ tool.function.description | replace('"', "'") }}{{ param(tool.function.parameters.properties, 4) }}\"\"\"
{%- endfor %}<|END|>{% endif %}
{%- for message in messages %}
{%- if message.role | lower in ['system', 'user', 'assistant'] and message.content %}<|{{ message.role | upper }}|>{{ message.content | trim }}<|END|>
{%- elif message.tool_calls %}<|CALLS|>{{ message.tool_calls | map(attribute='function') | list | tojson(indent=2) }}<|END|>
{%- elif message.role == 'tool' %}{% if loop.previtem is defined and loop.previtem.role != 'tool' %}<|RESULTS|>{% endif %}{{ message.name }}: {{ message.content }}{% if loop.last or loop.nextitem.role != 'tool' %}<|END|>{% else %}{{ '\n' }}{% endif %}
{%- endif %}
{%- endfor %}{% if add_generation_prompt %}<|ASSISTANT|>{% endif %}""",
    "hermes": """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" +  json_to_python_type(json_spec|items) + "]"}}
{%- elif json_spec.type == "object" %}
    {%- if json_spec.additionalProperties is defined %}
        {{- "dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}
    {%- else %}
        {{- "dict" }}
    {%- endif %}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{{- bos_token }}
{%- for tool in tools or [] %}
    {%- if tool.function is defined %}
        {%- set tool = tool.function %}
    {%- endif %}
    {{- '{"name": "' + tool.name + '", "description": "' }}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {{- param_name + ": " + json_to_python_type(param_fields) }}
        {%- if param_name in (tool.parameters.required or []) %}{{- "!" }}{%- endif %}
        {%- if not loop.last %}
            {{- ", " }}
        {%- endif %}
    {%- endfor %}
    {{- '"}\n' }}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" and message.tool_calls is defined %}
    {%- for tool_call in message.tool_calls %}
       {{- '\n<tool_call>\n' }}
       {{- '{' }}
       {{- '"name": "' }}
       {{- tool_call.function.name }}
       {{- '"' }}
       {{- ', '}}
       {%- if tool_call.function.arguments %}
            {{- '"arguments": ' }}
            {%- if tool_call.function.arguments is string %}
                {{- tool_call.function.arguments }}
            {%- else %}
                {{- tool_call.function.arguments|tojson }}
            {%- endif %}
        {%- endif %}
        {{- '}' }}
        {{- '\n</tool_call>' }}
    {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""",
}


def render(template, context):
    try:
        return {"output": _compile_jinja_template(template).render(**context)}
    except jinja2.exceptions.TemplateError as error:
        # raise_exception raises the base class itself, with the template's words
        return {"raised": str(error)} if type(error) is jinja2.exceptions.TemplateError else {"error": str(error)}
    except Exception as error:  # what Python raises inside a template: TypeError, ZeroDivisionError, RecursionError …
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def main():
    snippets = EXPRESSIONS.replace("{{ \"a\nb\" }}", "{{ \"a\x00b\" }}").split("\n")
    cases = [{"template": t, **render(t, TEXT)} for t in [s.replace("\x00", "\n") for s in snippets] + STATEMENTS]
    chats = []
    for model, template in MODELS.items():
        for chat, messages in CHATS.items():
            for prompt in (True, False):
                for tools in (None, TOOLS):
                    if tools and chat not in ("tools", "one", "system"):
                        continue
                    variables = {"enable_thinking": False} if prompt and model == "qwen3" else {"tools_in_user_message": False} if prompt and model == "llama31" else {}
                    context = {"tools": tools, "documents": None, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **variables}
                    from transformers.utils.chat_template_utils import _alias_reasoning_fields
                    result = render(template, {"messages": _alias_reasoning_fields(messages), **context})
                    chats.append({"model": model, "chat": chat, "add_generation_prompt": prompt, "tools": tools is not None, "extra": variables, **result})
    out = {"context": TEXT, "cases": cases, "tools": TOOLS, "messages": CHATS, "models": MODELS, "chats": chats}
    json.dump(out, sys.stdout, ensure_ascii=False, indent=0)
    counts = {kind: sum(kind in c for c in cases + chats) for kind in ("output", "raised", "error")}
    print(len(cases), "cases", len(chats), "chats", counts, file=sys.stderr)


if __name__ == "__main__":
    main()
