import pytest
from pydicom.datadict import keyword_dict
from tests.unit.routes.builders import image, one_route, problem_with_match, study

from pacsops.routes import StudyFacts
from pacsops.routes.fields import COMMON, UnknownField, field_named, snake_case


@pytest.mark.parametrize("name", [name for name in COMMON if name != "source_aet"])
def test_each_common_field_reads_the_dicom_attribute_its_description_names(name: str) -> None:
    keyword = field_named(name).keyword
    assert keyword is not None
    assert COMMON[name].startswith(keyword)
    assert one_route(f"{{{name}: VALUE}}").matched(study(image("i", **{keyword: "value"}))) == ("r",)


def test_source_aet_is_who_sent_the_image() -> None:
    routes = one_route("{source_aet: {starts_with: CR_}}")
    assert routes.matched(study(image("i", sender="CR_ROOM1")))
    assert not routes.matched(study(image("i", sender="MERCURE")))
    assert not routes.matched(study(image("i", sender=None)))


@pytest.mark.parametrize("name", ["BodyPartExamined", "body_part_examined"])
def test_any_dicom_keyword_is_a_field_in_either_spelling(name: str) -> None:
    knee: StudyFacts = study(image("i", BodyPartExamined="KNEE"))
    assert one_route(f"{{{name}: knee}}").matched(knee) == ("r",)


@pytest.mark.parametrize(
    ("keyword", "spelling"),
    [
        ("SOPClassUID", "sop_class_uid"),
        ("StudyInstanceUID", "study_instance_uid"),
        ("KVP", "kvp"),
        ("XRayTubeCurrent", "x_ray_tube_current"),
        ("PatientBirthDate", "patient_birth_date"),
    ],
)
def test_a_keyword_is_spelt_in_snake_case_as_one_would_guess(keyword: str, spelling: str) -> None:
    assert snake_case(keyword) == spelling
    assert field_named(spelling).keyword == keyword


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("study_descriptin", "study_description"),
        ("Body_Part_Examined", "body_part_examined"),
        ("bodypartexamined", "BodyPartExamined"),
        ("Manufactuer", "Manufacturer"),
        ("sourceaet", "source_aet"),
    ],
)
def test_a_misspelt_field_is_answered_with_the_one_that_was_meant(name: str, meant: str) -> None:
    problem = problem_with_match(f"{{{name}: x}}")
    assert problem.casefold().endswith(f"(did you mean '{meant}'?)".casefold())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("PixelData", "binary data"),
        ("RequestAttributesSequence", "a sequence"),
        ("TransferSyntaxUID", "the file header"),
        ("ModalitiesInStudy", "only in answers to a query"),
        ("NumberOfStudyRelatedInstances", "only in answers to a query"),
        ("SourceApplicationEntityTitle", "`source_aet`"),
        ("", "neither a field nor a DICOM keyword"),
    ],
)
def test_a_field_that_could_never_hold_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(UnknownField, match=why):
        field_named(name)
    assert why in problem_with_match(f"{{'{name}': x}}")


def test_no_spelling_stands_for_two_attributes() -> None:
    keywords = [keyword for keyword in keyword_dict if keyword]
    assert len({snake_case(keyword) for keyword in keywords}) == len(keywords)
