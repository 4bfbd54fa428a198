"""The page's controls for drawing: tools and their settings, actions on a whole region, foci, figures, agreement.

Also what the other steps are built of: a button of the view, a line to type into, and a place for files.
"""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import (
    VBtn,
    VBtnToggle,
    VCheckbox,
    VFileInput,
    VIcon,
    VList,
    VListItem,
    VMenu,
    VRangeSlider,
    VSelect,
    VSlider,
    VTextField,
)

from cnsifusion.mrml.limits import OVERWRITE
from cnsifusion.mrml.tools import ACTIONS, REJECT_REASONS
from cnsifusion.roi.tools.csf import ALL_SLICES
from cnsifusion.web.uploads import uploadArguments

_MOUSE = "Wheel: slices. Drag left: brightness and contrast; right: zoom; middle: move. R: fit again."
#: Vuetify gives the two ends of a range no name.
_NAMED = (
    "({ el }) => el.querySelectorAll('[role=slider]').forEach((end, n) => "
    "{ end.ariaLabel = ['Lowest', 'Highest'][n] + ' brightness that drawing may change' })"
)


def buildToolbox(app) -> None:
    """Everything under the list of regions; ``app`` carries the clicks out."""
    _tools(app)
    looking = "tools.tool == 'none' && panel.actions.edit.enabled"
    html.Div(_MOUSE, v_show=looking, classes="line text-medium-emphasis", id="mouse")
    with html.Div(v_show="tools.tool != 'none'"):
        _slider(app)
        _choices(app)
    _actions(app)
    _limits(app)
    _foci(app)
    html.Div("{{ text }}", v_for="(text, index) in tools.statistics", key="index", classes="line", id="statistics")
    _agreement(app)


def actionButton(key: str, **words) -> None:
    """A button of the view's ``key``; what it does, or why it cannot be pressed, shows over it."""
    with html.Span(title=(f"panel.actions.{key}.tooltip",)):
        VBtn(
            f"{{{{ panel.actions.{key}.label }}}}",
            disabled=(f"!panel.actions.{key}.enabled",),
            size="small",
            classes="mr-2 mt-1 text-none",
            id=f"button-{key}",
            **words,
        )


def textField(state: str, label: str, identity: str, enter: str = "", **more) -> None:
    """A line to type into, kept in the page's ``state`` of that name; Enter presses the button of the key ``enter``."""
    press = f"$event.target.ownerDocument.getElementById('button-{enter}').click()"
    if enter:
        more["raw_attrs"] = [f'@keydown.enter="{press}"']
    VTextField(
        v_model=(state,), label=label, density="compact", hide_details=True, variant="outlined", id=identity, **more
    )


def fileInput(app, label: str, opened, identity: str, action: str, **words) -> None:
    """A place to choose files that the browser sends to ``opened``; usable when the view's ``action`` is."""
    VFileInput(
        label=label,
        change=(lambda files: app.guarded(opened, files), uploadArguments()),
        multiple=True,
        density="compact",
        hide_details=True,
        variant="outlined",
        prepend_icon="",
        classes="mt-2",
        disabled=(f"!panel.actions.{action}.enabled",),
        id=identity,
        raw_attrs=[
            '@click.capture="$event.target.value = null"',  # else the same file, chosen again, is no change
            ':key="opened"',  # made anew for another image: else the former patient's file name would stand in it
        ],
        **words,
    )


def _tools(app) -> None:
    toggle = VBtnToggle(
        model_value=("tools.tool",),
        update_modelValue=(app.tools.chooseTool, "[$event]"),
        disabled=("!panel.actions.edit.enabled",),
        density="compact",
        mandatory=True,
        variant="outlined",
        divided=True,
        classes="mt-1",
    )
    with toggle:
        VBtn(
            "{{ item.label }}",
            v_for="item in tools.available",
            key="item.key",
            value=("item.key",),
            title=("panel.actions.edit.enabled ? item.tooltip : panel.actions.edit.tooltip",),
            id=("'tool-' + item.key",),
            size="x-small",
            classes="text-none tool",
        )


def _slider(app) -> None:
    with html.Div(v_if="tools.slider", classes="d-flex align-center", style="gap: 8px;"):
        html.Span("{{ tools.slider }}", classes="text-caption")
        VSlider(
            model_value=("tools.value",),
            update_modelValue=(app.tools.setSlider, "[$event]"),
            min=0.05,
            max=0.95,
            step=0.05,
            hide_details=True,
            density="compact",
            id="slider",
            name="Tolerance or sensitivity of the tool",
            title="Also with Shift or Ctrl and the wheel over the slice",
        )
        html.Span("{{ tools.value.toFixed(2) }}", classes="text-caption", id="slider-value")


def _choices(app) -> None:
    with html.Div(classes="d-flex align-center", style="gap: 8px;"):
        _check(app, "erase", "Erase", "tools.tool != 'move'")
        _check(app, "leakGuard", "Leak guard", "tools.tool == 'csf'")
        _check(app, "bothSides", "Both sides", "tools.bothOffered")
    with html.Div(v_if="tools.tool == 'csf'", classes="d-flex align-center mt-1", style="gap: 4px;"):
        html.Span("Neighbours", classes="text-caption", title="Slices on each side that a click works on too")
        with VBtnToggle(
            model_value=("tools.neighbours",),
            update_modelValue=(lambda count: app.tools.set("neighbours", int(count or 0)), "[$event]"),
            density="compact",
            mandatory=True,
            variant="outlined",
            divided=True,
        ):
            for count in (0, 1, 2, ALL_SLICES):
                word = "all" if count == ALL_SLICES else str(count)
                VBtn(word, value=(f"'{count}'",), size="x-small", id=f"neighbours-{word}", classes="text-none tool")


def _check(app, key: str, label: str, shown: str) -> None:
    VCheckbox(
        v_if=shown,
        model_value=(f"tools.{key}",),
        update_modelValue=(lambda chosen: app.tools.set(key, bool(chosen)), "[$event]"),
        label=label,
        density="compact",
        hide_details=True,
        id=key,
    )


def _actions(app) -> None:
    """Undo, redo, and what is done to the chosen region as a whole."""
    with html.Div(classes="d-flex align-center mt-1", style="gap: 4px;"):
        for name, can, key in (("undo", "canUndo", "Z"), ("redo", "canRedo", "Y")):
            VBtn(
                icon=f"mdi-{name}",
                size="x-small",
                disabled=(f"!tools.{can}",),
                click=getattr(app.tools, name),
                id=name,
                title=f"{name.capitalize()} (Ctrl+{key} over the axial view, with a tool in hand)",
            )
        for action in ACTIONS.values():
            _regionButton(action.label, action.tooltip, f"act-{action.key}", click=(app.tools.act, f"['{action.key}']"))
        with VMenu():
            with html.Template(v_slot_activator="{ props }"):
                tooltip = "Take this region away and record why; undo brings it back."
                _regionButton("Reject…", tooltip, "reject", v_bind="props")
            with VList(density="compact"):
                for number, reason in enumerate(REJECT_REASONS):
                    VListItem(title=reason, click=(app.tools.reject, f"['{reason}']"), id=f"reject-{number}")


def _regionButton(label: str, tooltip: str, identifier: str, **words) -> None:
    VBtn(label, size="x-small", variant="outlined", classes="text-none", title=tooltip, id=identifier,
         disabled=("!panel.actions.edit.enabled",), **words)  # fmt: skip


def _limits(app) -> None:
    """Slicer's masking, overwrite mode and intensity range, behind a link that says which of them are in force."""
    html.Button(
        "Limits of drawing: {{ tools.limits.text }}",
        v_if="panel.actions.edit.enabled",
        click="limiting = !limiting",
        classes="link d-block",
        title="Where drawing and erasing may change voxels, and what happens to other regions there",
        id="limits",
    )
    with html.Div(v_if="limiting && panel.actions.edit.enabled", id="limits-controls"):
        for key, label, items in (
            ("where", "Change voxels", "tools.limits.places"),
            ("overwrite", "Where others are drawn", str(list(OVERWRITE))),
        ):
            VSelect(
                label=label,
                model_value=(f"tools.limits.{key}",),
                update_modelValue=(lambda value, key=key: app.tools.setLimits(**{key: value}), "[$event]"),
                items=(items,),
                density="compact",
                variant="outlined",
                hide_details=True,
                classes="mt-1",
                id=f"limits-{key}",
            )
        with html.Div(classes="d-flex align-center mt-1", style="gap: 8px;"):
            html.Span("Brightness", classes="text-caption")
            VRangeSlider(
                model_value=("tools.limits.brightness",),
                update_modelValue=(lambda value: app.tools.setLimits(brightness=value), "[$event]"),
                min=("tools.range[0]",),
                max=("tools.range[1]",),
                hide_details=True,
                density="compact",
                id="limits-brightness",
                raw_attrs=[f'@vue:mounted="{_NAMED}"'],
            )


def _foci(app) -> None:
    with html.Div(v_show="tools.tool == 'pvs'", classes="foci", id="foci"):
        html.Div("No PVS-like focus at this sensitivity.", v_if="!tools.foci.length", classes="line")
        with html.Div(v_for="row in tools.foci", key="row.index", classes="row"):
            box = html.Button(
                click=(app.tools.toggleFocus, "[row.index]"),
                title=("row.accepted ? 'Reject this focus' : 'Accept this focus'",),
                id=("'focus-' + row.index",),
            )
            with box:
                icon = "row.accepted ? 'mdi-checkbox-marked-outline' : 'mdi-checkbox-blank-outline'"
                VIcon(icon=(icon,), size="small")
            html.Button(
                "{{ row.side }}, slice {{ row.slice }}, {{ row.size }}, {{ row.brightness }}",
                click=(app.tools.showFocus, "[row.index]"),
                title="Show it",
                id=("'focus-text-' + row.index",),
            )


def _agreement(app) -> None:
    html.Button(
        "Compare with another reader…",
        v_if="!comparing",
        v_show="panel.actions.import.enabled",
        click="comparing = true",
        classes="link mr-4",
        id="compare",
    )
    fileInput(app, "Another reader's regions", app.compareUpload, "upload-other", "import", v_if="comparing")
    html.Div("{{ text }}", v_for="(text, index) in tools.agreement", key="index", classes="line", id="agreement")
