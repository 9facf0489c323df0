"""How launches are counted; needs no compiler."""

from tests.aot import h100


def test_launches_are_counted_in_the_text_of_a_program():
    """The pattern of a loop is read with the eye from a compiled program."""
    text = """
%body.1 (p: (s32[], f32[2,3])) -> (s32[], f32[2,3]) {
  %p = (s32[], f32[2,3]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[2,3]{1,0} get-tuple-element(%p), index=1
  %next = s32[] fusion(%i), kind=kLoop, calls=%add
  %y = (f32[2,3]{1,0}, f32[]) fusion(%x), kind=kLoop, calls=%tanh
  ROOT %t = (s32[], f32[2,3]{1,0}) tuple(%next, %x)
}

ENTRY %main (a: f32[2,3]) -> f32[2,3] {
  %a = f32[2,3]{1,0} parameter(0)
  %w = (s32[], f32[2,3]{1,0}) while(%t), condition=%c, body=%body.1, \
backend_config={"known_trip_count":{"n":"7"}}
}
"""
    assert h100.loops(text) == [(7, 2)]
